// Files that are written, read again by the runtime's own reader. That they are
// the package safetensors' to the byte is tests/e2e/hf_writer_test.py's to say.
#include "runtime/checkpoint/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/safetensors_index.h"
#include "tests/support/test_files.h"

namespace mla::runtime {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using mla::testing::ReadFile;
using mla::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SafetensorsWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name =
        ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(::testing::TempDir()) / ("safetensors_writer." + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name = "model.safetensors") const {
    return folder_ / name;
  }
  int FilesInFolder() const {
    const fs::directory_iterator files(folder_);
    return static_cast<int>(std::distance(begin(files), end(files)));
  }

  fs::path folder_;
};

// The values of a tensor that a reader finds in the file.
template <typename T>
std::vector<T> ValuesOf(const Checkpoint& checkpoint, const char* name) {
  const TensorView* tensor = checkpoint.Find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  std::vector<T> values(tensor->bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

void ExpectFails(const absl::Status& status, absl::StatusCode code,
                 const std::string& message) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST_F(SafetensorsWriterTest, WhatIsWrittenIsRead) {
  auto writer =
      SafetensorsWriter::Create(Path(), {{"z", DType::kBF16, {3, 1}},
                                         {"größe\n", DType::kF32, {}},
                                         {"a", DType::kBF16, {1}},
                                         {"m", DType::kF32, {2, 2}},
                                         {"empty", DType::kF32, {0, 5}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  // In any order, in pieces that take turns.
  EXPECT_TRUE(writer->Append("z", {1, 2}).ok());
  EXPECT_TRUE(writer->Append("m", {5}).ok());
  EXPECT_TRUE(writer->Append("größe\n", {42}).ok());
  EXPECT_TRUE(writer->Append("z", {-3}).ok());
  EXPECT_TRUE(writer->Append("m", {6, 7, 8}).ok());
  EXPECT_TRUE(writer->Append("empty", {}).ok());
  EXPECT_TRUE(writer->Append("a", {0.5f}).ok());
  ASSERT_TRUE(writer->Close().ok());

  const auto checkpoint = Checkpoint::Open(Path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 5u);
  EXPECT_THAT((*checkpoint)->Find("m")->shape, ElementsAre(2, 2));
  EXPECT_THAT(ValuesOf<float>(**checkpoint, "m"), ElementsAre(5, 6, 7, 8));
  EXPECT_THAT(ValuesOf<float>(**checkpoint, "größe\n"), ElementsAre(42));
  EXPECT_EQ((*checkpoint)->Find("z")->type, DType::kBF16);
  EXPECT_THAT(ValuesOf<uint16_t>(**checkpoint, "z"),
              ElementsAre(0x3f80, 0x4000, 0xc040));
  EXPECT_THAT(ValuesOf<uint16_t>(**checkpoint, "a"), ElementsAre(0x3f00));
  EXPECT_EQ(FilesInFolder(), 1);
}

TEST_F(SafetensorsWriterTest, TheHeaderIsSortedAndPadded) {
  auto writer = SafetensorsWriter::Create(Path(), {{"b", DType::kBF16, {1}},
                                                   {"d", DType::kF32, {1}},
                                                   {"c", DType::kF32, {1}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const char* name : {"b", "c", "d"}) {
    EXPECT_TRUE(writer->Append(name, {1}).ok());
  }
  ASSERT_TRUE(writer->Close().ok());
  const std::string file = ReadFile(Path());
  uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof(size));
  EXPECT_EQ(size % 8, 0u);
  EXPECT_EQ(file.size(), 8 + size + 10);
  std::string header = file.substr(8, size);
  header.erase(header.find_last_not_of(' ') + 1);
  EXPECT_EQ(header,
            R"({"__metadata__":{"format":"pt"},)"
            R"("c":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
            R"("d":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
            R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})");
}

TEST_F(SafetensorsWriterTest, RoundsToNearestAndTiesToEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto f = kernels::FloatFromBits;
  const std::vector<float> values = {
      f(0x3f808000), f(0x3f818000), f(0x3f808001), f(0x3f817fff),
      f(0x7f7fffff), f(0x00008000), f(0x00018000), -infinity,
      f(0xffc00001), f(0x7f800001), -0.0f};
  auto writer = SafetensorsWriter::Create(
      Path(), {{"t", DType::kBF16, {static_cast<int64_t>(values.size())}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->Append("t", values).ok());
  ASSERT_TRUE(writer->Close().ok());
  const auto checkpoint = Checkpoint::Open(Path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(ValuesOf<uint16_t>(**checkpoint, "t"),
              ElementsAre(0x3f80, 0x3f82, 0x3f81, 0x3f81, 0x7f80, 0x0000,
                          0x0002, 0xff80, 0xffc0, 0x7fc0, 0x8000));
}

TEST_F(SafetensorsWriterTest, ManyValuesAtOnceAreRoundedInPieces) {
  std::vector<float> values(200'001);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i));
  }
  auto writer =
      SafetensorsWriter::Create(Path(), {{"t", DType::kBF16, {200'001}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->Append("t", values).ok());
  ASSERT_TRUE(writer->Close().ok());
  const auto checkpoint = Checkpoint::Open(Path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto written = ValuesOf<uint16_t>(**checkpoint, "t");
  ASSERT_EQ(written.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(written[i], kernels::ToBF16(values[i])) << i;
  }
}

TEST_F(SafetensorsWriterTest, BytesDependOnTheValuesOnly) {
  const auto write = [&](const std::string& name, bool backwards) {
    std::vector<TensorSpec> specs = {{"a", DType::kF32, {2}},
                                     {"b", DType::kBF16, {2}}};
    if (backwards) std::swap(specs[0], specs[1]);
    auto writer = SafetensorsWriter::Create(Path(name), specs);
    EXPECT_TRUE(writer.ok()) << writer.status();
    for (const TensorSpec& spec : specs) {
      EXPECT_TRUE(writer->Append(spec.name, {1}).ok());
      EXPECT_TRUE(writer->Append(spec.name, {2}).ok());
    }
    EXPECT_TRUE(writer->Close().ok());
    return ReadFile(Path(name));
  };
  EXPECT_EQ(write("one", false), write("two", true));
}

TEST_F(SafetensorsWriterTest, TheNameAppearsWhenTheFileIsWhole) {
  WriteFile(Path(), "an older file");
  {
    auto writer = SafetensorsWriter::Create(Path(), {{"t", DType::kF32, {2}}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE(writer->Append("t", {1, 2}).ok());
    EXPECT_EQ(ReadFile(Path()), "an older file");
    ASSERT_TRUE(writer->Close().ok());
    EXPECT_NE(ReadFile(Path()), "an older file");
    ExpectFails(writer->Close(), absl::StatusCode::kFailedPrecondition,
                "is already committed");
  }
  EXPECT_EQ(FilesInFolder(), 1);
  const std::string whole = ReadFile(Path());
  {
    auto writer = SafetensorsWriter::Create(Path(), {{"t", DType::kF32, {2}}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_EQ(FilesInFolder(), 2);
  }
  EXPECT_EQ(FilesInFolder(), 1);  // given up: nothing is left of it
  EXPECT_EQ(ReadFile(Path()), whole);
}

TEST_F(SafetensorsWriterTest, TooFewAndTooManyValuesAreRefused) {
  auto writer = SafetensorsWriter::Create(
      Path(), {{"t", DType::kF32, {2, 2}}, {"u", DType::kF32, {1}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->Append("t", {1, 2, 3}).ok());
  ASSERT_TRUE(writer->Append("u", {1}).ok());
  ExpectFails(writer->Append("t", {4, 5}), absl::StatusCode::kInvalidArgument,
              "tensor 't' has 4 values; 2 more after 3 are too many");
  ExpectFails(writer->Append("v", {4}), absl::StatusCode::kInvalidArgument,
              "tensor 'v' is not one of this file's");
  ExpectFails(writer->Close(), absl::StatusCode::kFailedPrecondition,
              "tensor 't' has 4 values, of which 3 were given");
  EXPECT_FALSE(fs::exists(Path()));
  ASSERT_TRUE(writer->Append("t", {4}).ok());
  EXPECT_TRUE(writer->Close().ok());
}

TEST_F(SafetensorsWriterTest, TensorsThatCannotBeWrittenAreRefusedByName) {
  const auto refuse = [&](std::vector<TensorSpec> specs, absl::StatusCode code,
                          const std::string& message) {
    const auto writer = SafetensorsWriter::Create(Path(), std::move(specs));
    ExpectFails(writer.status(), code, message);
    EXPECT_EQ(FilesInFolder(), 0);
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  refuse({{"t", DType::kF32, {1}}, {"t", DType::kF32, {2}}}, invalid,
         "tensor 't' is there twice");
  refuse({{"t", DType::kF32, {1}}, {"t", DType::kBF16, {1}}}, invalid,
         "tensor 't' is there twice");
  refuse({{"t", DType::kQ4_0, {32}}}, absl::StatusCode::kUnimplemented,
         "tensor 't': type q4_0 cannot be written");
  refuse({{"t", DType::kF32, {-1}}}, invalid, "tensor 't': shape [-1]");
  refuse({{"__metadata__", DType::kF32, {1}}}, invalid,
         "a tensor cannot be called '__metadata__'");
  refuse({{"\xff", DType::kF32, {1}}}, invalid,
         "a tensor cannot be called '\\xff'");
  const int64_t huge = int64_t{1} << 60;
  refuse({{"t", DType::kF32, {huge}}, {"u", DType::kF32, {huge}}}, invalid,
         "tensor 'u' ends past 2^63 bytes");
}

TEST_F(SafetensorsWriterTest, APathThatCannotBeWrittenIsNamed) {
  const std::string path = Path("no/such/folder.safetensors");
  ExpectFails(SafetensorsWriter::Create(path, {}).status(),
              absl::StatusCode::kNotFound, path + ".partial");
  fs::create_directory(Path("folder"));
  auto writer = SafetensorsWriter::Create(Path("folder"), {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  const absl::Status status = writer->Close();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(Path("folder")));
  EXPECT_EQ(FilesInFolder(), 1);
}

TEST_F(SafetensorsWriterTest, AFullDiskIsAStatus) {
  fs::create_symlink("/dev/full", Path() + ".partial");
  const auto writer = SafetensorsWriter::Create(Path(), {});
  ExpectFails(writer.status(), absl::StatusCode::kResourceExhausted,
              "write " + Path() + ".partial: No space left on device");
  EXPECT_EQ(FilesInFolder(), 0);
}

TEST_F(SafetensorsWriterTest, ShardsAndTheirIndexAreOneCheckpoint) {
  const std::vector<SafetensorsShard> shards = {
      {"model-00001-of-00002.safetensors",
       {{"b", DType::kF32, {2, 2}}, {"a", DType::kBF16, {3}}}},
      {"model-00002-of-00002.safetensors", {{"c", DType::kF32, {}}}}};
  for (const SafetensorsShard& shard : shards) {
    auto writer =
        SafetensorsWriter::Create(Path(shard.file_name), shard.tensors);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TensorSpec& tensor : shard.tensors) {
      int64_t elements = 1;
      for (const int64_t size : tensor.shape) elements *= size;
      ASSERT_TRUE(
          writer->Append(tensor.name, std::vector<float>(elements, 1)).ok());
    }
    ASSERT_TRUE(writer->Close().ok());
  }
  const std::string index = Path("model.safetensors.index.json");
  ASSERT_TRUE(WriteSafetensorsIndex(index, shards).ok());
  EXPECT_EQ(nlohmann::json::parse(ReadFile(index)), nlohmann::json::parse(R"({
      "metadata": {"total_size": 26},
      "weight_map": {"a": "model-00001-of-00002.safetensors",
                     "b": "model-00001-of-00002.safetensors",
                     "c": "model-00002-of-00002.safetensors"}})"));
  const auto checkpoint = Checkpoint::Open(folder_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 3u);
  EXPECT_EQ(FilesInFolder(), 3);
}

TEST_F(SafetensorsWriterTest, AnIndexThatCannotBeReadIsNotWritten) {
  const auto refuse = [&](const std::vector<SafetensorsShard>& shards,
                          const std::string& message) {
    ExpectFails(WriteSafetensorsIndex(Path(), shards),
                absl::StatusCode::kInvalidArgument, message);
    EXPECT_EQ(FilesInFolder(), 0);
  };
  const TensorSpec tensor{"t", DType::kF32, {1}};
  refuse({{"one", {tensor}}, {"two", {tensor}}}, "tensor 't' is in two shards");
  for (const char* name : {"", "../one", "a/b", ".hidden", "\xff"}) {
    refuse({{name, {tensor}}}, "a shard cannot be called");
  }
  refuse({{"one", {{"\xff", DType::kF32, {1}}}}}, "a tensor cannot be called");
  refuse({{"one", {{"t", DType::kF32, {-1}}}}}, "shape [-1] is negative");
}

}  // namespace
}  // namespace mla::runtime

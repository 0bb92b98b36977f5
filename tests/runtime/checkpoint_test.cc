#include "runtime/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/json.h"
#include "tests/support/bytes.h"
#include "tests/support/test_files.h"

namespace mla::runtime {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using mla::testing::Encode;
using mla::testing::ReadFile;
using mla::testing::SharedGolden;
using mla::testing::TestData;
using mla::testing::Touch;
using mla::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// An empty folder that goes away with the test.
class CheckpointFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "checkpoint_test.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& content) {
    WriteFile(folder_ + "/" + name, content);
  }
  // A safetensors file of single floats.
  void WriteTensors(const std::string& file,
                    const std::vector<std::string>& names) {
    nlohmann::json header;
    std::string data;
    for (const std::string& name : names) {
      const size_t begin = data.size();
      data += Encode(1.0f);
      header[name] = {{"dtype", "F32"},
                      {"shape", {1}},
                      {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    Write(file, Encode<uint64_t>(text.size()) + text + data);
  }
  void WriteIndex(const std::string& weight_map) {
    Write("model.safetensors.index.json",
          "{\"weight_map\":" + weight_map + "}");
  }
  void ExpectError(const std::string& path, absl::StatusCode code,
                   const std::string& message) {
    const absl::Status status = Checkpoint::Open(path).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(status.message(), HasSubstr(message));
  }

  std::string folder_;
};

std::vector<float> FloatsOf(const TensorView* tensor) {
  EXPECT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, DType::kF32);
  std::vector<float> floats(tensor->Elements());
  std::memcpy(floats.data(), tensor->bytes.data(), tensor->bytes.size());
  return floats;
}

std::unique_ptr<Checkpoint> OpenOrDie(const std::string& path) {
  auto checkpoint = Checkpoint::Open(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return *std::move(checkpoint);
}

TEST(Checkpoint, ShardedFolderIsOneCheckpoint) {
  const auto checkpoint = OpenOrDie(TestData("checkpoint/sharded"));
  EXPECT_EQ(checkpoint->format(), CheckpointFormat::kHuggingFace);
  EXPECT_EQ(checkpoint->tensors().size(), 2);
  EXPECT_THAT(FloatsOf(checkpoint->Find("a")), ElementsAre(1, 2, 3));
  EXPECT_THAT(FloatsOf(checkpoint->Find("b")), ElementsAre(4, 5));
  EXPECT_EQ(*checkpoint->ReadText("config.json"),
            "{\"model_type\": \"llama\"}\n");
  EXPECT_EQ(checkpoint->gguf(), nullptr);
}

TEST(Checkpoint, TensorsThatCannotBeHadAreExplained) {
  const auto checkpoint = OpenOrDie(TestData("checkpoint/sharded"));
  EXPECT_EQ(*checkpoint->Get("a"), checkpoint->Find("a"));
  EXPECT_EQ(checkpoint->Find("c"), nullptr);
  EXPECT_EQ(checkpoint->Get("c").status(),
            absl::NotFoundError("tensor 'c' is not in the checkpoint"));
  EXPECT_EQ(checkpoint->Find("steps"), nullptr);
  EXPECT_EQ(checkpoint->Get("steps").status(),
            absl::UnimplementedError(
                "tensor 'steps' has type 'U8', which is not supported"));
}

TEST(Checkpoint, GgufFileBringsItsMetadata) {
  const auto checkpoint = OpenOrDie(TestData("checkpoint/small.gguf"));
  EXPECT_EQ(checkpoint->format(), CheckpointFormat::kGguf);
  ASSERT_NE(checkpoint->gguf(), nullptr);
  EXPECT_EQ(*checkpoint->gguf()->GetString("general.architecture"), "llama");
  EXPECT_THAT(checkpoint->Find("f32")->shape, ElementsAre(2, 3));
  EXPECT_TRUE(absl::IsNotFound(checkpoint->ReadText("config.json").status()));
}

TEST(Checkpoint, SplitGgufIsOneCheckpoint) {
  const auto checkpoint =
      OpenOrDie(TestData("checkpoint/split-00001-of-00003.gguf"));
  EXPECT_EQ(*checkpoint->gguf()->GetString("general.architecture"), "llama");
  EXPECT_THAT(FloatsOf(checkpoint->Find("a")), ElementsAre(0, 0));
  EXPECT_THAT(FloatsOf(checkpoint->Find("b")), ElementsAre(1, 1));
  EXPECT_THAT(FloatsOf(checkpoint->Find("c")), ElementsAre(2, 2));
}

TEST(Checkpoint, SingleSafetensorsFileOpensWithoutAFolder) {
  const auto checkpoint = OpenOrDie(TestData("checkpoint/small.safetensors"));
  EXPECT_EQ(checkpoint->format(), CheckpointFormat::kSafetensors);
  EXPECT_THAT(FloatsOf(checkpoint->Find("scalar")), ElementsAre(42));
  EXPECT_TRUE(absl::IsNotFound(checkpoint->ReadText("config.json").status()));
}

// Every model among the goldens, as transformers saved it; the committed
// folder where the full set is not there.
TEST(Checkpoint, GoldenFoldersOpenAndEveryByteCanBeRead) {
  const std::string golden = SharedGolden();
  std::vector<std::string> folders = {TestData("checkpoint/sharded")};
  if (!golden.empty()) {
    for (const auto& entry : fs::directory_iterator(golden + "/models")) {
      folders.push_back(entry.path());
    }
    EXPECT_GT(folders.size(), 20);
  }
  for (const std::string& folder : folders) {
    SCOPED_TRACE(folder);
    const auto checkpoint = OpenOrDie(folder);
    for (const auto& [name, tensor] : checkpoint->tensors()) {
      Touch(tensor.bytes);
    }
    const auto config = ParseJson(*checkpoint->ReadText("config.json"));
    const auto* embeddings = checkpoint->Find("model.embed_tokens.weight");
    if (embeddings != nullptr) {
      EXPECT_THAT(embeddings->shape, ElementsAre(config->at("vocab_size"),
                                                 config->at("hidden_size")));
    }
    if (fs::exists(folder + "/golden.safetensors")) {
      EXPECT_FALSE(
          OpenOrDie(folder + "/golden.safetensors")->tensors().empty());
    }
  }
}

TEST_F(CheckpointFiles, PathsThatAreNoCheckpointAreRefused) {
  using Code = absl::StatusCode;
  ExpectError(folder_ + "/none", Code::kNotFound, folder_ + "/none");
  ExpectError(folder_, Code::kNotFound, "has neither model.safetensors nor");
  Write("empty", "");
  ExpectError(folder_ + "/empty", Code::kInvalidArgument, "neither GGUF nor");
  Write("text", "Once upon a time there was a file.");
  ExpectError(folder_ + "/text", Code::kInvalidArgument, "neither GGUF nor");
  fs::create_directory(folder_ + "/model.safetensors");
  ExpectError(folder_, Code::kInvalidArgument, "is not a file");
}

TEST_F(CheckpointFiles, ErrorsNameTheFile) {
  Write("model.safetensors", "short");
  ExpectError(folder_, absl::StatusCode::kOutOfRange,
              folder_ + "/model.safetensors: the header's length field");
  Write("cut.gguf", "GGUF");
  ExpectError(folder_ + "/cut.gguf", absl::StatusCode::kOutOfRange,
              folder_ + "/cut.gguf: the version needs 4 bytes at byte 4");
}

TEST_F(CheckpointFiles, IndexesThatAreNotOneAreRefused) {
  for (const char* index :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})",
        R"({"weight_map":{"a":{"b":"c"}}})"}) {
    Write("model.safetensors.index.json", index);
    const absl::Status status = Checkpoint::Open(folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << index;
    EXPECT_THAT(std::string(status.message()),
                StartsWith("model.safetensors.index.json: "));
  }
}

TEST_F(CheckpointFiles, ShardNamesCannotLeaveTheFolder) {
  fs::create_directory(folder_ + "/inner");
  WriteTensors("outside.safetensors", {"a"});
  for (const char* name :
       {"../outside.safetensors", "/outside.safetensors", "..", ".", "",
        "inner/../../outside.safetensors", "outside.safetensors\\u0000"}) {
    WriteFile(folder_ + "/inner/model.safetensors.index.json",
              std::string("{\"weight_map\":{\"a\":\"") + name + "\"}}");
    ExpectError(folder_ + "/inner", absl::StatusCode::kInvalidArgument,
                "tensor 'a' must name a file of this folder");
  }
}

TEST_F(CheckpointFiles, EveryTensorMustBeInItsShardAndInNoOther) {
  WriteTensors("one.safetensors", {"a"});
  WriteTensors("two.safetensors", {"a", "b"});
  WriteIndex(R"({"a":"one.safetensors","b":"one.safetensors"})");
  ExpectError(folder_, absl::StatusCode::kInvalidArgument,
              "/one.safetensors: tensor 'b' is not in this file");
  WriteIndex(R"({"a":"one.safetensors","b":"two.safetensors"})");
  ExpectError(folder_, absl::StatusCode::kInvalidArgument,
              "/two.safetensors: tensor 'a' is in another file, too");
  WriteIndex(R"({"a":"none.safetensors"})");
  ExpectError(folder_, absl::StatusCode::kNotFound, "/none.safetensors");
}

TEST_F(CheckpointFiles, PartsOfASplitGgufMustBeThere) {
  const auto part = [](int i) {
    return "split-0000" + std::to_string(i) + "-of-00003.gguf";
  };
  for (int i : {1, 2}) {
    Write(part(i), ReadFile(TestData("checkpoint/" + part(i))));
  }
  ExpectError(folder_ + "/" + part(1), absl::StatusCode::kNotFound, part(3));
  ExpectError(folder_ + "/" + part(2), absl::StatusCode::kInvalidArgument,
              "is one of 3 parts: open the one that ends with -00001-of-00003");
  Write(part(3), ReadFile(folder_ + "/" + part(2)));
  ExpectError(folder_ + "/" + part(1), absl::StatusCode::kInvalidArgument,
              part(3) + ": tensor 'b' is in another file, too");
}

TEST_F(CheckpointFiles, TextsAreReadByPlainNameOnly) {
  WriteTensors("model.safetensors", {"a"});
  Write("vocab.txt", "");
  const auto checkpoint = OpenOrDie(folder_);
  EXPECT_EQ(*checkpoint->ReadText("vocab.txt"), "");
  EXPECT_TRUE(absl::IsNotFound(checkpoint->ReadText("config.json").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(checkpoint->ReadText("../x").status()));
}

TEST_F(CheckpointFiles, AFifoIsRefusedInsteadOfWaitedFor) {
  const std::string path = folder_ + "/fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ExpectError(path, absl::StatusCode::kInvalidArgument, "is not a file");
}

}  // namespace
}  // namespace mla::runtime

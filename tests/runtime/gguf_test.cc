#include "runtime/checkpoint/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "kernels/dequantize.h"
#include "tests/support/bytes.h"
#include "tests/support/test_files.h"

namespace mla::runtime {
namespace {

using kernels::DType;
using mla::testing::Encode;
using mla::testing::ReadFile;
using mla::testing::TestData;
using mla::testing::ToBytes;
using mla::testing::Touch;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A GGUF file put together field by field; remembers where its numbers are.
class Builder {
 public:
  struct Field {
    size_t offset;
    size_t size;
  };

  Builder& U32(uint32_t value) { return Number(value); }
  Builder& U64(uint64_t value) { return Number(value); }
  Builder& F32(float value) { return Number(value); }
  Builder& Raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  Builder& Text(const std::string& text) { return U64(text.size()).Raw(text); }
  Builder& Type(GgufType type) { return U32(static_cast<uint32_t>(type)); }
  Builder& PadTo(size_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    return *this;
  }
  Builder& Header(uint64_t tensors, uint64_t metadata) {
    return Raw("GGUF").U32(3).U64(tensors).U64(metadata);
  }
  // `sizes` innermost first, as in the file.
  Builder& Tensor(const std::string& name, const std::vector<uint64_t>& sizes,
                  uint32_t type, uint64_t offset) {
    Text(name).U32(static_cast<uint32_t>(sizes.size()));
    for (uint64_t size : sizes) U64(size);
    return U32(type).U64(offset);
  }

  const std::string& bytes() const { return bytes_; }
  const std::vector<Field>& fields() const { return fields_; }

 private:
  template <typename T>
  Builder& Number(T value) {
    fields_.push_back({bytes_.size(), sizeof(T)});
    return Raw(Encode(value));
  }

  std::string bytes_;
  std::vector<Field> fields_;
};

constexpr uint32_t kGgmlF32 = 0;
constexpr uint32_t kGgmlQ8_0 = 8;

// A bit of everything, for the tests that damage it.
Builder Sample() {
  Builder file;
  file.Header(2, 4);
  file.Text("general.alignment").Type(GgufType::kU32).U32(32);
  file.Text("name").Type(GgufType::kString).Text("sample");
  file.Text("words").Type(GgufType::kArray).Type(GgufType::kString).U64(2);
  file.Text("one").Text("two");
  file.Text("nested").Type(GgufType::kArray).Type(GgufType::kArray).U64(1);
  file.Type(GgufType::kF32).U64(2).F32(0.5f).F32(1.5f);
  file.Tensor("a", {3, 2}, kGgmlF32, 0).Tensor("b", {32}, kGgmlQ8_0, 32);
  file.PadTo(32).Raw(std::string(32 + 34, '\x3c'));
  return file;
}

absl::Status StatusOf(const std::string& file) {
  const std::vector<std::byte> bytes = ToBytes(file);
  return ParseGguf(bytes).status();
}

// Parses, and if that succeeds reads all that the file claims to hold.
void ParseAndTouch(const std::string& file) {
  const std::vector<std::byte> bytes = ToBytes(file);
  const auto parsed = ParseGguf(bytes);
  if (!parsed.ok()) return;
  for (const auto& [name, tensor] : parsed->tensors) {
    Touch(tensor.bytes);
    EXPECT_EQ(*TensorBytes(tensor.type, tensor.shape), tensor.bytes.size());
  }
  for (const auto& [key, value] : parsed->metadata.values()) {
    Touch(value.bytes);
    (void)parsed->metadata.GetU32(key);
    (void)parsed->metadata.GetF32(key);
    (void)parsed->metadata.GetBool(key);
    (void)parsed->metadata.GetString(key);
    (void)parsed->metadata.GetStringArray(key);
    (void)parsed->metadata.GetF32Array(key);
    (void)parsed->metadata.GetI32Array(key);
  }
}

void ExpectError(const std::string& file, absl::StatusCode code,
                 const std::string& message) {
  const absl::Status status = StatusOf(file);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(status.message(), HasSubstr(message));
}

// The file that the package gguf wrote (tests/golden/checkpoint).
class SmallGguf : public ::testing::Test {
 protected:
  void SetUp() override {
    bytes_ = ToBytes(ReadFile(TestData("checkpoint/small.gguf")));
    auto parsed = ParseGguf(bytes_);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    file_ = *std::move(parsed);
  }

  const GgufMetadata& metadata() const { return file_.metadata; }
  std::vector<float> Floats(const std::string& name) const {
    const TensorView& tensor = file_.tensors.at(name);
    std::vector<float> floats(tensor.Elements());
    kernels::Dequantize(tensor.type, tensor.bytes.data(), floats.size(),
                        floats.data());
    return floats;
  }

  std::vector<std::byte> bytes_;
  GgufFile file_;
};

TEST_F(SmallGguf, MetadataOfEveryTypeIsWhatWasWritten) {
  EXPECT_EQ(*metadata().GetString("general.architecture"), "llama");
  EXPECT_EQ(*metadata().GetU32("u8"), 200);
  EXPECT_EQ(*metadata().GetU32("u16"), 60000);
  EXPECT_EQ(*metadata().GetU32("u32"), 4000000000);
  EXPECT_EQ(*metadata().GetU64("u32"), 4000000000);
  EXPECT_EQ(*metadata().GetU64("u64"), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(*metadata().GetF32("f32"), 0.25f);
  EXPECT_TRUE(*metadata().GetBool("yes"));
  EXPECT_FALSE(*metadata().GetBool("no"));
  EXPECT_EQ(*metadata().GetString("text"), "größer");
  EXPECT_THAT(*metadata().GetStringArray("words"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(*metadata().GetF32Array("floats"), ElementsAre(0.5f, -1.5f));
  EXPECT_THAT(*metadata().GetI32Array("integers"), ElementsAre(1, -2, 3));
  EXPECT_EQ(metadata().values().at("nested").element_type, GgufType::kArray);
  EXPECT_EQ(metadata().values().at("nested").count, 2);
  EXPECT_EQ(metadata().values().size(), 19);
}

TEST_F(SmallGguf, TensorsAreWhatWasWrittenOutermostDimensionFirst) {
  EXPECT_EQ(file_.tensors.size(), 4);
  EXPECT_EQ(file_.tensors.at("f32").type, DType::kF32);
  EXPECT_THAT(file_.tensors.at("f32").shape, ElementsAre(2, 3));
  EXPECT_THAT(Floats("f32"), ElementsAre(0, 0.25f, 0.5f, 0.75f, 1, 1.25f));
  EXPECT_THAT(Floats("f16"), ElementsAre(1.5f, -2.0f, 65504.0f));
  EXPECT_EQ(file_.tensors.at("ids").type, DType::kI32);
  EXPECT_THAT(file_.tensors.at("ids").shape, ElementsAre(2, 1, 1));
  EXPECT_THAT(Floats("ids"), ElementsAre(5.0f, -5.0f));

  EXPECT_EQ(file_.tensors.at("q8_0").type, DType::kQ8_0);
  EXPECT_THAT(file_.tensors.at("q8_0").shape, ElementsAre(2, 96));
  const std::vector<float> q8_0 = Floats("q8_0");
  for (int i = 0; i < 6; ++i) EXPECT_EQ(q8_0[i * 32], i + 1);
}

TEST_F(SmallGguf, GettersNameTheKeyAndWhatIsWrongWithIt) {
  const auto expect = [](const absl::Status& status, absl::StatusCode code,
                         const char* message) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(status.message(), message);
  };
  using Code = absl::StatusCode;
  expect(metadata().GetU32("none").status(), Code::kNotFound,
         "metadata key 'none' is missing");
  expect(metadata().GetU32("text").status(), Code::kInvalidArgument,
         "metadata key 'text' is string, not an integer");
  expect(metadata().GetString("words").status(), Code::kInvalidArgument,
         "metadata key 'words' is array of string, not string");
  expect(metadata().GetF32("f64").status(), Code::kInvalidArgument,
         "metadata key 'f64' is f64, not f32");
  expect(metadata().GetU32("u64").status(), Code::kInvalidArgument,
         "metadata key 'u64' does not fit in 0 to 4294967295");
  expect(metadata().GetU64("i8").status(), Code::kInvalidArgument,
         "metadata key 'i8' does not fit in 0 to 18446744073709551615");
  expect(metadata().GetF32Array("words").status(), Code::kInvalidArgument,
         "metadata key 'words' is array of string, not array of f32");
  expect(metadata().GetI32Array("nested").status(), Code::kInvalidArgument,
         "metadata key 'nested' is array of array, not an integer");
  expect(metadata().GetStringArray("u8").status(), Code::kInvalidArgument,
         "metadata key 'u8' is u8, not array of string");
}

TEST(Gguf, VersionsOtherThan2And3AreRefused) {
  std::string file = Builder().Header(0, 0).bytes();
  EXPECT_TRUE(StatusOf(file).ok());
  file[4] = 2;
  EXPECT_TRUE(StatusOf(file).ok());
  file[4] = 1;
  ExpectError(file, absl::StatusCode::kUnimplemented, "version 1");
  std::swap(file[4], file[7]);
  ExpectError(file, absl::StatusCode::kUnimplemented, "big-endian");
}

TEST(Gguf, AnotherMagicNumberIsRefused) {
  ExpectError("GGML" + std::string(20, '\0'),
              absl::StatusCode::kInvalidArgument, "does not begin with GGUF");
}

TEST(Gguf, EmptyArraysAreArrays) {
  Builder file;
  file.Header(0, 1).Text("none");
  file.Type(GgufType::kArray).Type(GgufType::kString).U64(0);
  const std::vector<std::byte> bytes = ToBytes(file.bytes());
  const auto parsed = ParseGguf(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_THAT(*parsed->metadata.GetStringArray("none"), IsEmpty());
}

TEST(Gguf, FalseCountsRunIntoTheEndWithoutAllocating) {
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  ExpectError(Builder().Header(0, kHuge).bytes(), absl::StatusCode::kOutOfRange,
              "a metadata key needs 8 bytes at byte 24");
  ExpectError(Builder().Header(kHuge, 0).bytes(), absl::StatusCode::kOutOfRange,
              "a tensor's name needs 8 bytes at byte 24");
  for (GgufType type :
       {GgufType::kU8, GgufType::kF64, GgufType::kString, GgufType::kArray}) {
    Builder file;
    file.Header(0, 1).Text("k").Type(GgufType::kArray).Type(type).U64(kHuge);
    ExpectError(file.Raw(std::string(8, '\0')).bytes(),
                absl::StatusCode::kOutOfRange,
                "metadata key 'k' cannot be read: ");
  }
}

TEST(Gguf, ArraysNestAFewDeepButNotMore) {
  const auto nested = [](int depth) {
    Builder file;
    file.Header(0, 1).Text("k").Type(GgufType::kArray);
    for (int i = 1; i < depth; ++i) file.Type(GgufType::kArray).U64(1);
    return file.Type(GgufType::kU8).U64(1).Raw("x").bytes();
  };
  EXPECT_TRUE(StatusOf(nested(4)).ok());
  ExpectError(nested(5), absl::StatusCode::kInvalidArgument, "4 deep");
  ExpectError(nested(100000), absl::StatusCode::kInvalidArgument, "4 deep");
}

TEST(Gguf, NamesThatComeTwiceAreRefused) {
  Builder keys;
  keys.Header(0, 2);
  for (int i = 0; i < 2; ++i) keys.Text("k").Type(GgufType::kU32).U32(1);
  ExpectError(keys.bytes(), absl::StatusCode::kInvalidArgument,
              "metadata key 'k' is there twice");

  Builder tensors;
  tensors.Header(2, 0);
  for (int i = 0; i < 2; ++i) tensors.Tensor("t", {1}, kGgmlF32, 32 * i);
  ExpectError(tensors.PadTo(32).Raw(std::string(64, 'x')).bytes(),
              absl::StatusCode::kInvalidArgument, "tensor 't': is there twice");
}

TEST(Gguf, DataBeginsAndTensorsLieAtTheAlignmentGiven) {
  const auto file = [](uint32_t alignment, uint64_t offset) {
    Builder file;
    file.Header(1, 1);
    file.Text("general.alignment").Type(GgufType::kU32).U32(alignment);
    file.Tensor("t", {1}, kGgmlF32, offset);
    file.PadTo(256).Raw(std::string(256, 'a')).Raw(Encode(2.5f));
    return file.bytes();
  };
  const std::vector<std::byte> bytes = ToBytes(file(256, 256));
  const auto parsed = ParseGguf(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(LoadNumber<float>(parsed->tensors.at("t").bytes), 2.5f);

  using Code = absl::StatusCode;
  ExpectError(file(256, 32), Code::kInvalidArgument,
              "offset 32 is not a multiple of the alignment 256");
  ExpectError(file(24, 0), Code::kInvalidArgument, "not a power of two");
  ExpectError(file(0, 0), Code::kInvalidArgument, "not a power of two");
  ExpectError(file(uint32_t{1} << 31, 0), Code::kOutOfRange,
              "past the 0 bytes of data");
}

TEST(Gguf, TensorsThatDoNotFitAreRefusedByName) {
  const auto file = [](const std::vector<uint64_t>& sizes, uint32_t type,
                       uint64_t offset) {
    Builder file;
    file.Header(1, 0).Tensor("t", sizes, type, offset);
    return file.PadTo(32).Raw(std::string(64, 'x')).bytes();
  };
  using Code = absl::StatusCode;
  const uint64_t max = std::numeric_limits<uint64_t>::max();
  ASSERT_TRUE(StatusOf(file({16}, kGgmlF32, 0)).ok());
  ASSERT_TRUE(StatusOf(file({0, 5}, kGgmlF32, 64)).ok());
  ASSERT_TRUE(StatusOf(file({}, kGgmlF32, 0)).ok());
  ExpectError(file({17}, kGgmlF32, 0), Code::kOutOfRange,
              "tensor 't': offset 0 + 68 bytes ends past the 64 bytes");
  ExpectError(file({16}, kGgmlF32, 32), Code::kOutOfRange,
              "tensor 't': offset 32 + 64 bytes ends past the 64 bytes");
  ExpectError(file({1}, kGgmlF32, max - 31), Code::kOutOfRange, "tensor 't'");
  ExpectError(file({max}, kGgmlF32, 0), Code::kInvalidArgument,
              "tensor 't': shape [-1] is negative");
  ExpectError(file({1u << 31, 1u << 31, 1u << 31}, kGgmlF32, 0),
              Code::kInvalidArgument, "is too large");
  ExpectError(file({1, 1, 1, 1, 1}, kGgmlF32, 0), Code::kInvalidArgument,
              "tensor 't': 5 dimensions");
  ExpectError(file({31}, kGgmlQ8_0, 0), Code::kInvalidArgument,
              "rows of 31 elements do not divide into q8_0 blocks of 32");
  ExpectError(file({16, 2}, kGgmlQ8_0, 0), Code::kInvalidArgument,
              "rows of 16 elements do not divide into q8_0 blocks of 32");
}

TEST(Gguf, UnsupportedTensorTypesAreNamed) {
  const auto file = [](uint32_t type) {
    return Builder().Header(1, 0).Tensor("t", {256}, type, 0).bytes();
  };
  ExpectError(file(10), absl::StatusCode::kUnimplemented,
              "tensor 't': type Q2_K is not supported");
  ExpectError(file(4), absl::StatusCode::kUnimplemented,
              "tensor 't': type number 4 is not known");
}

TEST(Gguf, OverlappingTensorsAreRefused) {
  Builder file;
  file.Header(2, 0)
      .Tensor("a", {9}, kGgmlF32, 0)
      .Tensor("b", {1}, kGgmlF32, 32);
  ExpectError(file.PadTo(32).Raw(std::string(64, 'x')).bytes(),
              absl::StatusCode::kInvalidArgument,
              "tensors 'a' and 'b' overlap at byte 32");
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string file = Sample().bytes();
  ASSERT_TRUE(StatusOf(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(StatusOf(file.substr(0, size)).ok()) << size;
  }
}

TEST(Gguf, NoFieldValueAndNoFlippedBitLeadsOutOfTheFile) {
  const Builder sample = Sample();
  for (const Builder::Field& field : sample.fields()) {
    uint64_t value = 0;
    std::memcpy(&value, sample.bytes().data() + field.offset, field.size);
    for (uint64_t bad : {uint64_t{0}, uint64_t{1}, value + 1, value - 1,
                         ~uint64_t{0}, ~uint64_t{0} >> 1}) {
      std::string file = sample.bytes();
      std::memcpy(file.data() + field.offset, &bad, field.size);
      ParseAndTouch(file);
    }
  }
  for (size_t bit = 0; bit < 8 * sample.bytes().size(); ++bit) {
    std::string file = sample.bytes();
    file[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ParseAndTouch(file);
  }
}

}  // namespace
}  // namespace mla::runtime

#include "runtime/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/dequantize.h"
#include "runtime/checkpoint/byte_cursor.h"
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
using ::testing::Pair;

// A file with this header and `data_bytes` bytes of data.
std::string File(const std::string& header, size_t data_bytes) {
  return Encode<uint64_t>(header.size()) + header +
         std::string(data_bytes, '\x3c');
}

// A tensor's entry in the header.
std::string Entry(const std::string& name, const std::string& dtype,
                  const std::string& shape, const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::string OneTensor(const std::string& dtype, const std::string& shape,
                      const std::string& offsets, size_t data_bytes) {
  return File(absl::StrCat("{", Entry("t", dtype, shape, offsets), "}"),
              data_bytes);
}

absl::Status StatusOf(const std::string& file) {
  const std::vector<std::byte> bytes = ToBytes(file);
  return ParseSafetensors(bytes).status();
}

void ExpectError(const std::string& file, const std::string& message) {
  const absl::Status status = StatusOf(file);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(status.message(), HasSubstr(message));
}

// Parses, and if that succeeds reads all that the file claims to hold.
void ParseAndTouch(const std::string& file) {
  const std::vector<std::byte> bytes = ToBytes(file);
  const auto parsed = ParseSafetensors(bytes);
  if (!parsed.ok()) return;
  for (const auto& [name, tensor] : parsed->tensors) {
    Touch(tensor.bytes);
    EXPECT_EQ(*TensorBytes(tensor.type, tensor.shape), tensor.bytes.size());
  }
}

// The file that the package safetensors wrote (tests/golden/checkpoint).
class SmallSafetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    bytes_ = ToBytes(ReadFile(TestData("checkpoint/small.safetensors")));
    auto parsed = ParseSafetensors(bytes_);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    file_ = *std::move(parsed);
  }

  std::vector<float> Floats(const std::string& name) const {
    const TensorView& tensor = file_.tensors.at(name);
    std::vector<float> floats(tensor.Elements());
    kernels::Dequantize(tensor.type, tensor.bytes.data(), floats.size(),
                        floats.data());
    return floats;
  }

  std::vector<std::byte> bytes_;
  SafetensorsFile file_;
};

TEST_F(SmallSafetensors, TensorsAreWhatWasWritten) {
  EXPECT_EQ(file_.tensors.size(), 9);
  EXPECT_EQ(file_.tensors.at("f32").type, DType::kF32);
  EXPECT_THAT(file_.tensors.at("f32").shape, ElementsAre(2, 3));
  EXPECT_THAT(Floats("f32"), ElementsAre(0, 0.25f, 0.5f, 0.75f, 1, 1.25f));
  EXPECT_EQ(file_.tensors.at("f16").type, DType::kF16);
  EXPECT_THAT(Floats("f16"), ElementsAre(1.5f, -2.0f, 65504.0f));
  EXPECT_EQ(file_.tensors.at("bf16").type, DType::kBF16);
  EXPECT_THAT(file_.tensors.at("bf16").shape, ElementsAre(2, 1));
  EXPECT_THAT(Floats("bf16"), ElementsAre(3.0f, -0.5f));
  EXPECT_EQ(file_.tensors.at("f8").type, DType::kF8E4M3);
  EXPECT_THAT(Floats("f8"), ElementsAre(448.0f, -0.25f));
  EXPECT_EQ(file_.tensors.at("i32").type, DType::kI32);
  EXPECT_THAT(Floats("i32"), ElementsAre(7.0f, -7.0f));
  EXPECT_EQ(file_.tensors.at("i64").type, DType::kI64);
  EXPECT_THAT(Floats("i64"), ElementsAre(1099511627776.0f));
  EXPECT_THAT(file_.tensors.at("scalar").shape, IsEmpty());
  EXPECT_THAT(Floats("scalar"), ElementsAre(42.0f));
  EXPECT_THAT(file_.tensors.at("empty").shape, ElementsAre(0, 5));
  EXPECT_THAT(Floats("empty"), IsEmpty());
  EXPECT_THAT(Floats("größe"), ElementsAre(1.0f));
}

TEST_F(SmallSafetensors, TensorsOfOtherTypesAreListedWithTheirType) {
  EXPECT_THAT(file_.unsupported, ElementsAre(Pair("mask", "BOOL")));
}

TEST(Safetensors, AFileMayBeEmptyOfTensors) {
  EXPECT_TRUE(StatusOf(File("{}   ", 0)).ok());
  EXPECT_TRUE(StatusOf(File(R"({"__metadata__":{"format":"pt"}})", 0)).ok());
}

TEST(Safetensors, HeaderLengthIsHeldAgainstTheFile) {
  const absl::Status cut = StatusOf(Encode<uint64_t>(3) + "{}");
  EXPECT_EQ(cut.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(cut.message(), HasSubstr("the header needs 3 bytes at byte 8"));
  ExpectError(Encode<uint64_t>(100'000'001) + "{}",
              "the header claims 100000001 bytes");
  ExpectError(Encode<uint64_t>(~uint64_t{0}) + "{}", "the header claims");
}

TEST(Safetensors, HeadersOfAnotherShapeAreRefused) {
  ExpectError(File("", 0), "does not begin with '{'");
  ExpectError(File(" {}", 0), "does not begin with '{'");
  ExpectError(File("[]", 0), "does not begin with '{'");
  ExpectError(File("{} {}", 0), "not valid JSON at byte 4");
  ExpectError(File("{\"t\":", 0), "not valid JSON");
  ExpectError(File("{\"\xff\":{}}", 0), "not valid JSON");
  ExpectError(File(R"({"t":[]})", 0), "tensor 't': unexpected an array");
  ExpectError(File(R"({"t":null})", 0), "tensor 't': unexpected null");
  ExpectError(File(R"({"t":{}})", 0), "needs the fields dtype, shape");
  ExpectError(File(R"({"t":{"shape":[],"dtype":"F32"}})", 0), "needs the");
  ExpectError(File(R"({"t":{"shape":{}}})", 0), "unexpected an object");
  ExpectError(File(R"({"t":{"shape":"1"}})", 0), "unexpected a string");
  ExpectError(File(R"({"t":{"shape":[[1]]}})", 0), "unexpected an array");
  ExpectError(File(R"({"t":{"dtype":1}})", 0), "unexpected a number");
  ExpectError(File(R"({"t":{"dtype":["F32"]}})", 0), "unexpected an array");
  ExpectError(File(R"({"t":{"strides":[1]}})", 0), "'strides' is unknown");
  ExpectError(File(R"({"__metadata__":{"a":{}}})", 0), "unexpected an object");
}

TEST(Safetensors, DeepNestingEndsAtTheFirstUnexpectedBracket) {
  ExpectError(File("{\"t\":" + std::string(1 << 20, '['), 0),
              "unexpected an array");
  std::string objects = "{";
  for (int i = 0; i < 100000; ++i) objects += "\"dtype\":{";
  ExpectError(File(objects, 0), "unexpected an object");
}

TEST(Safetensors, NamesAndFieldsThatComeTwiceAreRefused) {
  const std::string entry = Entry("t", "F32", "[0]", "[0,0]");
  ExpectError(File("{" + entry + "," + entry + "}", 0),
              "tensor 't' is there twice");
  ExpectError(File(R"({"t":{"dtype":"F32","dtype":"F16"}})", 0),
              "tensor 't': field 'dtype' is there twice");
}

TEST(Safetensors, NumbersMustBeSizes) {
  EXPECT_TRUE(StatusOf(OneTensor("F32", "[2]", "[0,8]", 8)).ok());
  ExpectError(OneTensor("F32", "[-2]", "[0,8]", 8), "a negative number");
  ExpectError(OneTensor("F32", "[2.0]", "[0,8]", 8), "a fraction");
  ExpectError(OneTensor("F32", "[2e0]", "[0,8]", 8), "a fraction");
  ExpectError(OneTensor("F32", "[9223372036854775808]", "[0,8]", 8),
              "9223372036854775808 is too large");
  ExpectError(OneTensor("F32", "[99999999999999999999]", "[0,8]", 8),
              "a number past 2^64");
  ExpectError(OneTensor("F32", "[4294967296,4294967296]", "[0,8]", 8),
              "shape [4294967296, 4294967296] is too large");
  ExpectError(OneTensor("F32", "[4611686018427387904]", "[0,8]", 8),
              "is too large");
}

TEST(Safetensors, OffsetsMustSpanTheTensorWithinTheData) {
  ExpectError(OneTensor("F32", "[2]", "[0]", 8), "has 1 numbers instead of 2");
  ExpectError(OneTensor("F32", "[2]", "[0,8,8]", 8), "has 3 numbers");
  ExpectError(OneTensor("F32", "[2]", "[0,9]", 8),
              "tensor 't': bytes 0 to 9 are not within the 8 bytes of data");
  ExpectError(OneTensor("F32", "[2]", "[8,0]", 8), "bytes 8 to 0 are not");
  ExpectError(OneTensor("BOOL", "[9]", "[0,9]", 8), "bytes 0 to 9 are not");
  ExpectError(OneTensor("F32", "[2]", "[0,4]", 4),
              "tensor 't' of type F32 and shape [2] needs 8 bytes, but its "
              "offsets span 4");
  ExpectError(OneTensor("BF16", "[2]", "[0,8]", 8), "needs 4 bytes");
}

TEST(Safetensors, TensorsMustCoverTheDataOnce) {
  const auto two = [](const char* a, const char* b, size_t data_bytes) {
    return File(absl::StrCat("{", Entry("a", "F32", "[2]", a), ",",
                             Entry("b", "F32", "[1]", b), "}"),
                data_bytes);
  };
  EXPECT_TRUE(StatusOf(two("[4,12]", "[0,4]", 12)).ok());
  ExpectError(two("[0,8]", "[4,8]", 8),
              "tensors 'a' and 'b' overlap at byte 4");
  ExpectError(two("[0,8]", "[12,16]", 16),
              "the tensors cover 12 of the 16 bytes of data");
  ExpectError(two("[0,8]", "[8,12]", 13),
              "the tensors cover 12 of the 13 bytes of data");
}

TEST(Safetensors, NamesInMessagesAreEscapedAndCut) {
  const std::string name = R"(\u0007)" + std::string(1000, 'x');
  ExpectError(File("{\"" + name + "\":null}", 0),
              "tensor '\\x07" + std::string(99, 'x') + "...': unexpected");
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file = ReadFile(TestData("checkpoint/small.safetensors"));
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(StatusOf(file.substr(0, size)).ok()) << size;
  }
}

TEST(Safetensors, NoChangedHeaderLeadsOutOfTheFile) {
  const std::string sample = ReadFile(TestData("checkpoint/small.safetensors"));
  uint64_t header_bytes = LoadNumber<uint64_t>(ToBytes(sample));
  for (size_t i = 0; i < sizeof(uint64_t) + header_bytes; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string file = sample;
      file[i] ^= static_cast<char>(1 << bit);
      ParseAndTouch(file);
    }
  }
  for (uint64_t length : {uint64_t{0}, uint64_t{1}, header_bytes - 1,
                          header_bytes + 1, ~uint64_t{0}}) {
    ParseAndTouch(Encode(length) + sample.substr(sizeof(length)));
  }
}

TEST(Safetensors, NoNumberInTheHeaderLeadsOutOfTheFile) {
  for (const char* bad :
       {"0", "1", "9", "10", "-1", "1.5", "2147483648", "4294967296",
        "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "1e400", "null", "\"1\"", "[]", "{}"}) {
    const std::string value = bad;
    ParseAndTouch(OneTensor("F32", "[" + value + "]", "[0,8]", 8));
    ParseAndTouch(OneTensor("F32", "[2," + value + "]", "[0,8]", 8));
    ParseAndTouch(OneTensor("F32", "[2]", "[" + value + ",8]", 8));
    ParseAndTouch(OneTensor("F32", "[2]", "[0," + value + "]", 8));
    ParseAndTouch(OneTensor("F32", value, "[0,8]", 8));
    ParseAndTouch(OneTensor("F32", "[2]", value, 8));
  }
}

}  // namespace
}  // namespace mla::runtime

#include "kernels/dequantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/test_files.h"

namespace mla::kernels {
namespace {

using mla::testing::ReadFile;
using mla::testing::TestData;
using ::testing::ElementsAre;

std::vector<float> ReadFloats(const std::string& name) {
  const std::string bytes = ReadFile(TestData("dequant/" + name));
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

// Decodes from an odd address in an allocation that ends with the last block,
// so that a sanitizer sees every read outside of it.
std::vector<float> Decode(DType type, const void* blocks, size_t bytes) {
  const DTypeTraits traits = Traits(type);
  const auto buffer = std::make_unique<char[]>(bytes + 1);
  std::memcpy(buffer.get() + 1, blocks, bytes);
  std::vector<float> floats(bytes / traits.block_bytes * traits.block_elements);
  Dequantize(type, buffer.get() + 1, floats.size(), floats.data());
  return floats;
}

// Equal bits, but any NaN stands for any other.
void ExpectSameBits(const std::vector<float>& actual,
                    const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(BitsOfFloat(actual[i]), BitsOfFloat(expected[i]))
        << "element " << i << ": " << actual[i] << " for " << expected[i];
  }
}

class GoldenTypes : public ::testing::TestWithParam<DType> {};

TEST_P(GoldenTypes, DecodeToTheBitsOfTheReference) {
  const std::string name = Name(GetParam());
  const std::string blocks = ReadFile(TestData("dequant/" + name + ".blocks"));
  const std::vector<float> expected = ReadFloats(name + ".floats");
  ASSERT_FALSE(expected.empty());
  ExpectSameBits(Decode(GetParam(), blocks.data(), blocks.size()), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Dequantize, GoldenTypes,
    ::testing::Values(DType::kBF16, DType::kF8E4M3, DType::kQ4_0, DType::kQ4_1,
                      DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                      DType::kQ5_K, DType::kQ6_K),
    [](const auto& info) { return std::string(Name(info.param)); });

TEST(Dequantize, EveryF16IsThatOfNumpy) {
  std::vector<uint16_t> halves(0x10000);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = i;

  // The golden file holds the positive half; a sign only sets the top bit.
  std::vector<float> expected = ReadFloats("f16.floats");
  ASSERT_EQ(expected.size(), halves.size() / 2);
  for (size_t i = 0; i < halves.size() / 2; ++i) {
    expected.push_back(std::copysign(expected[i], -1.0f));
  }
  ExpectSameBits(Decode(DType::kF16, halves.data(), 2 * halves.size()),
                 expected);
}

TEST(Dequantize, F32IsCopied) {
  const std::vector<float> values = {-0.0f, 1e-45f, 3.25f, 3e38f};
  ExpectSameBits(Decode(DType::kF32, values.data(), 4 * sizeof(float)), values);
}

TEST(Dequantize, IntegersRoundToTheNearestFloat) {
  const int32_t small[] = {0, -7, 16777217,
                           std::numeric_limits<int32_t>::min()};
  EXPECT_THAT(Decode(DType::kI32, small, sizeof(small)),
              ElementsAre(0.0f, -7.0f, 16777216.0f, -2147483648.0f));
  const int64_t large[] = {-1, int64_t{1} << 40};
  EXPECT_THAT(Decode(DType::kI64, large, sizeof(large)),
              ElementsAre(-1.0f, 1099511627776.0f));
}

TEST(Dequantize, NothingIsTouchedForNoElements) {
  for (int type = 0; type <= static_cast<int>(DType::kI64); ++type) {
    Dequantize(static_cast<DType>(type), nullptr, 0, nullptr);
  }
}

}  // namespace
}  // namespace mla::kernels

// Weights as codes: what was codes stays it, however scales were chosen; what
// was not is off by half a code's distance at most.
#include "runtime/cuda/weight_codes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace mla::runtime {
namespace {

using kernels::FromF8E4M3;
using kernels::RowFormat;
using kernels::RowFormatOf;

constexpr int kPiece = kernels::kRowScaleElements;

std::vector<double> Decoded(const RowFormat& format,
                            const std::vector<std::byte>& row) {
  std::vector<double> values;
  for (int i = 0; i < format.width; ++i) {
    float scale;
    std::memcpy(&scale, &row[format.scales_at + i / kPiece * 4], 4);
    values.push_back(double{scale} * FromF8E4M3(static_cast<uint8_t>(row[i])));
  }
  return values;
}

std::vector<double> Encoded(const std::vector<float>& values) {
  const RowFormat format =
      RowFormatOf(static_cast<int>(values.size()), kernels::DType::kF8E4M3);
  std::vector<std::byte> row(format.bytes, std::byte{0x7f});
  EncodeWeightRow(format, values, row.data());
  return Decoded(format, row);
}

TEST(WeightCodes, CodesKeepTheirValuesWhateverTheScale) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const int cols = 1 + static_cast<int>(random() % 400);
    // Of a block of which this row may hold small codes only: largest, and a
    // scale that is a power of two or not.
    const int largest = 1 + static_cast<int>(random() % 0x7e);
    std::vector<float> values;
    float scale = 1;
    for (int i = 0; i < cols; ++i) {
      if (i % kPiece == 0) {
        scale = std::ldexp(1.0f, static_cast<int>(random() % 20) - 18);
        if (round % 2 == 0) scale *= 1.0f + random() % 997 / 997.0f;
      }
      const auto code =
          static_cast<uint8_t>(random() % (largest + 1) | (random() % 2 << 7));
      values.push_back(scale * FromF8E4M3(code));
    }
    const std::vector<double> found = Encoded(values);
    for (int i = 0; i < cols; ++i) {
      // The value has been rounded once, the scale twice since.
      ASSERT_NEAR(found[i], values[i], 3 * 0x1p-24 * std::fabs(values[i]))
          << "round " << round << ", element " << i;
    }
  }
}

TEST(WeightCodes, OthersAreOffByHalfACode) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 100; ++round) {
    std::vector<float> values;
    for (int i = 0; i < 300; ++i) values.push_back(0.02f * normal(random));
    const std::vector<double> found = Encoded(values);
    for (int first = 0; first < 300; first += kPiece) {
      const int end = std::min(first + kPiece, 300);
      double most = 0;
      for (int i = first; i < end; ++i) {
        most = std::max(most, double{std::fabs(values[i])});
      }
      for (int i = first; i < end; ++i) {
        // Three bits behind the first; subnormal codes are 2^-9 apart.
        const double step =
            std::max(0x1p-4 * std::fabs(values[i]), 0x1p-10 * most / 448);
        EXPECT_NEAR(found[i], values[i], step * (1 + 1e-5)) << i;
      }
    }
  }
}

TEST(WeightCodes, NothingAndHardlyAnything) {
  const std::vector<double> zeros = Encoded(std::vector<float>(130, -0.0f));
  for (const double v : zeros) EXPECT_EQ(v, 0.0);
  for (const float most : {1e-44f, 1e-38f, 3e38f}) {
    const std::vector<double> found = Encoded({most, -most / 2, 0.0f});
    EXPECT_NEAR(found[0], most, 0x1p-4 * most + 0x1p-110);
    EXPECT_NEAR(found[1], -most / 2, 0x1p-4 * most + 0x1p-110);
    EXPECT_EQ(found[2], 0.0);
  }
}

}  // namespace
}  // namespace mla::runtime

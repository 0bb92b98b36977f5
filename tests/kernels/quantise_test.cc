// Packing what GGUF's blocks say loses nothing; other weights are rounded by at
// most half a step.
#include "kernels/quantise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/packed_matrix.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using Group = float[kGroup];

// Steps [low, high] that take both ends, in an order of their own.
std::vector<int> Steps(int low, int high, int seed) {
  const std::vector<float> random = mla::testing::RandomFloats(kGroup, seed);
  std::vector<int> steps;
  for (const float x : random) {
    const double unit = std::clamp<double>(x, -1, 1) / 2 + 0.5;
    steps.push_back(low + int(std::lround(unit * (high - low))));
  }
  steps[5] = low;
  steps[21] = high;
  return steps;
}

// Values of a half, from subnormal to large.
constexpr float kScales[] = {0x1.0p-24f, 0x1.ffp-15f, 0x1.234p-9f, 0.75f, 410};

void ExpectKept(DType type, const Group& weights) {
  // Two outputs, and a group beside it that must not matter.
  PackedMatrix packed(type, 2, 2 * kGroup);
  std::vector<float> row(2 * kGroup, 0.5f), back(2 * kGroup);
  std::copy(weights, weights + kGroup, row.begin() + kGroup);
  packed.SetRow(1, row.data());
  packed.GetRow(1, back.data());
  for (int i = 0; i < kGroup; ++i) EXPECT_EQ(back[kGroup + i], weights[i]);
}

TEST(Quantise, KeepsWhatQ8_0Says) {
  for (const float d : kScales) {
    const std::vector<int> q = Steps(-127, 127, 1);
    Group w;
    for (int i = 0; i < kGroup; ++i) w[i] = d * q[i];
    ExpectKept(DType::kQ8_0, w);
  }
}

TEST(Quantise, KeepsWhatQ4_1Says) {
  for (const float d : kScales) {
    for (const float minimum : {-8.0f, 0.0f, 0x1.24p-3f}) {
      const std::vector<int> q = Steps(0, 15, 2);
      Group w;
      for (int i = 0; i < kGroup; ++i) w[i] = d * q[i] + minimum;
      if (w[5] == w[21]) continue;  // the steps vanish beside the minimum
      ExpectKept(DType::kQ4_1, w);
    }
  }
}

// llama.cpp gives the largest magnitude step -8, whatever its sign; nobody need
// have step 7.
TEST(Quantise, KeepsWhatQ4_0Says) {
  for (const float d : kScales) {
    for (const int highest : {3, 7}) {
      const std::vector<int> q = Steps(-8, highest, 3);
      Group w;
      for (const float sign : {1.0f, -1.0f}) {
        for (int i = 0; i < kGroup; ++i) w[i] = sign * d * q[i];
        ExpectKept(DType::kQ4_1, w);
      }
    }
  }
}

TEST(Quantise, RoundsByAtMostHalfAStep) {
  for (int seed = 0; seed < 50; ++seed) {
    const std::vector<float> random = mla::testing::RandomFloats(kGroup, seed);
    Group w;
    std::copy(random.begin(), random.end(), w);
    // A scale is rounded to 11 bits, and with it each of its up to 127 steps.
    const QuantisedGroup bytes = QuantiseBytes(w);
    for (int i = 0; i < kGroup; ++i) {
      EXPECT_NEAR(bytes.scale * bytes.q[i], w[i],
                  bytes.scale * (0.5 + 127 * 0x1.0p-11));
    }
    // No worse than the range's own 16 steps.
    const auto [low, high] = std::minmax_element(w, w + kGroup);
    const double step = (*high - *low) / 15;
    const QuantisedGroup nibbles = QuantiseNibbles(w);
    double error = 0;
    for (int i = 0; i < kGroup; ++i) {
      const double got = nibbles.scale * nibbles.q[i] + nibbles.minimum;
      error += (got - w[i]) * (got - w[i]);
    }
    EXPECT_LE(std::sqrt(error / kGroup), step * (0.5 + 15 * 0x1.0p-10));
  }
}

TEST(Quantise, ShowsWhatIsNotANumberAndSurvivesWhatIsTooLarge) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  Group w = {};
  w[3] = 1e30f;
  EXPECT_EQ(QuantiseBytes(w).scale, 65504.0f);
  EXPECT_EQ(QuantiseBytes(w).q[3], 127);
  for (const float bad : {kInf, -kInf, float{NAN}}) {
    w[3] = bad;
    EXPECT_TRUE(std::isnan(QuantiseBytes(w).scale));
    EXPECT_TRUE(std::isnan(QuantiseNibbles(w).scale));
  }
  const Group zeros = {};
  EXPECT_EQ(QuantiseBytes(zeros).scale, 0);
  EXPECT_EQ(QuantiseNibbles(zeros).minimum, 0);
}

TEST(ToF16, IsTheNearestHalf) {
  // All finite halves are themselves; midpoints go to the even one.
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    const float x = FromF16(uint16_t(h));
    ASSERT_EQ(ToF16(x), h);
    ASSERT_EQ(ToF16(-x), h | 0x8000u);
    if (h + 1 == 0x7c00) break;
    const float next = FromF16(uint16_t(h + 1));
    const float middle = x + (next - x) / 2;
    ASSERT_EQ(ToF16(middle), h + h % 2);
    ASSERT_EQ(ToF16(std::nextafter(middle, 0.0f)), h);
    ASSERT_EQ(ToF16(std::nextafter(middle, 1e9f)), h + 1);
  }
  EXPECT_EQ(ToF16(1e6f), 0x7c00);
  EXPECT_TRUE(std::isnan(FromF16(ToF16(NAN))));
}

}  // namespace
}  // namespace mla::kernels

// Gates against their formulas, in double.
//
// Tolerance: one rounding of a float for each factor, 2^-23 of the result.
#include "kernels/cpu/gating.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

constexpr int kRows = 3;
constexpr double kUlp = 0x1.0p-23;

Rows View(std::vector<float>& v, int cols) {
  return {v.data(), kRows, cols, size_t(cols)};
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

using GatingTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(GatingTest);

TEST_P(GatingTest, SigmoidMulMatchesItsFormula) {
  CpuContext cpu(GetParam(), 2);
  std::vector<float> x = RandomFloats(kRows * 10, 1, 4), y(kRows * 5);
  SigmoidMul(cpu, View(x, 10), View(y, 5));
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 5; ++i) {
      const double wanted = Sigmoid(x[r * 10 + i]) * x[r * 10 + 5 + i];
      EXPECT_NEAR(y[r * 5 + i], wanted, kUlp * std::abs(wanted));
    }
  }
}

TEST_P(GatingTest, ScaleBySigmoidDotScalesEachRowByItsOwn) {
  CpuContext cpu(GetParam(), 2);
  std::vector<float> a = RandomFloats(kRows * 7, 2);
  std::vector<float> b = RandomFloats(kRows * 7, 3);
  std::vector<float> x = RandomFloats(kRows * 4, 4);
  const std::vector<float> before = x;
  ScaleBySigmoidDot(cpu, View(a, 7), View(b, 7), View(x, 4));
  for (int r = 0; r < kRows; ++r) {
    double dot = 0;
    for (int i = 0; i < 7; ++i) dot += double{a[r * 7 + i]} * b[r * 7 + i];
    for (int i = 0; i < 4; ++i) {
      const double wanted = Sigmoid(dot) * before[r * 4 + i];
      EXPECT_NEAR(x[r * 4 + i], wanted, 2 * kUlp * std::abs(wanted));
    }
  }
}

TEST_P(GatingTest, ScalePartsIsASoftmaxOverParts) {
  CpuContext cpu(GetParam(), 2);
  std::vector<float> logits = RandomFloats(kRows * 3, 5, 3);
  std::vector<float> x = RandomFloats(kRows * 12, 6);
  const std::vector<float> before = x;
  ScaleParts(cpu, View(logits, 3), View(x, 12));
  for (int r = 0; r < kRows; ++r) {
    double total = 0;
    for (int p = 0; p < 3; ++p) total += std::exp(double{logits[r * 3 + p]});
    for (int i = 0; i < 12; ++i) {
      const double gate = std::exp(double{logits[r * 3 + i / 4]}) / total;
      const double wanted = gate * before[r * 12 + i];
      EXPECT_NEAR(x[r * 12 + i], wanted, 2 * kUlp * std::abs(wanted));
    }
  }
}

TEST(Sinusoids, AreThoseOfTheTransformer) {
  float y[6];
  Sinusoids(5, 6, y);
  EXPECT_FLOAT_EQ(y[0], std::sin(5.0));
  EXPECT_FLOAT_EQ(y[1], std::cos(5.0));
  EXPECT_FLOAT_EQ(y[4], std::sin(5 * std::pow(10000.0, -4.0 / 6)));
  EXPECT_FLOAT_EQ(y[5], std::cos(5 * std::pow(10000.0, -4.0 / 6)));
}

}  // namespace
}  // namespace mla::kernels

// Norm, rotation, activation and sum against their formulas in double.
#include "kernels/cpu/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

constexpr double kUlp = 0x1.0p-23;
constexpr int kWidths[] = {1, 15, 16, 17, 64, 100, 577};

Rows View(std::vector<float>& v, int rows, int cols) {
  return {v.data(), rows, cols, size_t(cols)};
}

using ElementwiseTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(ElementwiseTest);

TEST_P(ElementwiseTest, RmsNormMatchesItsFormula) {
  CpuContext cpu(GetParam(), 2);
  for (int n : kWidths) {
    std::vector<float> x = RandomFloats(3 * n, 1, 3.0f);
    const std::vector<float> w = RandomFloats(n, 2);
    std::vector<float> y(3 * n);
    RmsNorm(cpu, View(x, 3, n), w.data(), 1e-5f, View(y, 3, n));
    for (int r = 0; r < 3; ++r) {
      double squares = 0;
      for (int i = 0; i < n; ++i)
        squares += double{x[r * n + i]} * x[r * n + i];
      for (int i = 0; i < n; ++i) {
        const double expected =
            x[r * n + i] / std::sqrt(squares / n + 1e-5) * w[i];
        // Half the relative error of a sum of n squares, and four roundings.
        EXPECT_NEAR(y[r * n + i], expected,
                    (n / 2.0 + 4) * kUlp * std::abs(expected));
      }
    }
  }
}

TEST_P(ElementwiseTest, RmsNormHeadsNormsEachHeadAlone) {
  CpuContext cpu(GetParam(), 1);
  const std::vector<float> w = RandomFloats(8, 2);
  std::vector<float> x = RandomFloats(2 * 48, 1);  // 3 heads of 16, 8 normed
  std::vector<float> expected = x;
  for (int head = 0; head < 6; ++head) {
    std::vector<float> part(x.begin() + head * 16, x.begin() + head * 16 + 8);
    RmsNorm(cpu, View(part, 1, 8), w.data(), 1e-6f, View(part, 1, 8));
    std::copy(part.begin(), part.end(), expected.begin() + head * 16);
  }
  RmsNormHeads(cpu, View(x, 2, 48), 3, 16, 8, w.data(), 1e-6f);
  EXPECT_EQ(x, expected);
}

TEST_P(ElementwiseTest, SiluMulMatchesItsFormulaFarOutToo) {
  CpuContext cpu(GetParam(), 1);
  for (int n : kWidths) {
    std::vector<float> x = RandomFloats(2 * n, 3, 8.0f);
    x[0] = 200.0f;  // where a careless exponential overflows
    if (n > 1) x[1] = -200.0f;
    std::vector<float> y(n);
    SiluMul(cpu, View(x, 1, 2 * n), View(y, 1, n));
    for (int i = 0; i < n; ++i) {
      const double g = x[i];
      const double expected = g / (1 + std::exp(-g)) * x[n + i];
      // The exponent's own rounding grows with |g|; below e^-87 floats end.
      EXPECT_NEAR(y[i], expected,
                  (std::abs(g) + 8) * kUlp * std::abs(expected) + 1e-34)
          << g;
    }
  }
}

// With `sets` of angles, each for as many heads.
void CheckRope(Isa isa, int sets) {
  CpuContext cpu(isa, 1);
  constexpr int kHeads = 6, kDim = 10, kStride = 14, kRows = 2;
  std::vector<float> x = RandomFloats(kRows * kHeads * kStride, 4);
  const std::vector<float> before = x;
  const int width = sets * kDim / 2;
  std::vector<float> angle = RandomFloats(kRows * width, 5);
  std::vector<float> cos(angle.size()), sin(angle.size());
  for (size_t i = 0; i < angle.size(); ++i) {
    cos[i] = std::cos(angle[i]);
    sin[i] = std::sin(angle[i]);
  }
  Rope(cpu,
       {kHeads, kStride, kDim, sets, View(cos, kRows, width),
        View(sin, kRows, width)},
       View(x, kRows, kHeads * kStride));
  for (int row = 0; row < kRows; ++row) {
    for (int head = 0; head < kHeads; ++head) {
      const int at = row * kHeads * kStride + head * kStride;
      const int set = head / (kHeads / sets);
      for (int i = 0; i < kDim / 2; ++i) {
        const float turn = angle[row * width + set * (kDim / 2) + i];
        const double c = std::cos(turn);
        const double s = std::sin(turn);
        const double a = before[at + i];
        const double b = before[at + i + kDim / 2];
        const double size = 4 * kUlp * (std::abs(a) + std::abs(b));
        EXPECT_NEAR(x[at + i], a * c - b * s, size);
        EXPECT_NEAR(x[at + i + kDim / 2], b * c + a * s, size);
      }
      for (int i = kDim; i < kStride; ++i) EXPECT_EQ(x[at + i], before[at + i]);
    }
  }
}

TEST_P(ElementwiseTest, RopeTurnsEveryPairByItsAngle) {
  CheckRope(GetParam(), 1);
  CheckRope(GetParam(), 3);
}

TEST_P(ElementwiseTest, AddScaledAdds) {
  CpuContext cpu(GetParam(), 1);
  for (int n : kWidths) {
    std::vector<float> x = RandomFloats(n, 6);
    std::vector<float> y = RandomFloats(n, 7);
    const std::vector<float> before = y;
    AddScaled(cpu, View(x, 1, n), 0.7f, View(y, 1, n));
    for (int i = 0; i < n; ++i) {
      EXPECT_NEAR(y[i], before[i] + double{x[i]} * 0.7f,
                  2 * kUlp * (std::abs(before[i]) + std::abs(x[i])));
    }
  }
}

TEST_P(ElementwiseTest, RowsAreStoredRoundedToNearestEven) {
  CpuContext cpu(GetParam(), 1);
  std::vector<float> x = RandomFloats(37, 8);
  x[0] = FromBF16(0x3f80) + 0x1.0p-8f;  // halfway: to the even neighbour
  x[1] = FromBF16(0x3f81) + 0x1.0p-8f;
  x[2] = std::numeric_limits<float>::infinity();
  x[3] = std::numeric_limits<float>::quiet_NaN();
  std::vector<bf16_t> row(37);
  std::byte* slot = reinterpret_cast<std::byte*>(row.data());
  WriteRows(cpu, View(x, 1, 37), RowFormatOf(37, DType::kBF16), &slot);
  for (int i = 0; i < 37; ++i) EXPECT_EQ(row[i], ToBF16(x[i])) << i;
  EXPECT_EQ(row[0], 0x3f80);
  EXPECT_EQ(row[1], 0x3f82);
  EXPECT_EQ(row[2], 0x7f80);
  EXPECT_TRUE(std::isnan(FromBF16(row[3])));
}

}  // namespace
}  // namespace mla::kernels

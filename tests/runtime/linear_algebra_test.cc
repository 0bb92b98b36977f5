#include "runtime/convert/linear_algebra.h"

#include <gtest/gtest.h>

#include <complex>
#include <limits>

#include "runtime/convert/moment_sum.h"

namespace mla::runtime {
namespace {

// Entries of order one; products of such n x n matrices are off by at most a
// small multiple of n eps.
constexpr double kTolerance = 1e-11;
constexpr int kN = 37;

DoubleMatrix RandomSpd(int n) {
  std::srand(7);
  const DoubleMatrix a = DoubleMatrix::Random(n, n);
  return a * a.transpose() / n;
}

TEST(LinearAlgebra, EigenvectorsDiagonalizeFromTheLargestValueOn) {
  const DoubleMatrix s = RandomSpd(kN);
  const auto e = EigenOf(s);
  ASSERT_TRUE(e.ok()) << e.status();
  for (int i = 1; i < kN; ++i) EXPECT_GE(e->values[i - 1], e->values[i]);
  EXPECT_LT(
      (e->vectors.transpose() * e->vectors - DoubleMatrix::Identity(kN, kN))
          .cwiseAbs()
          .maxCoeff(),
      kTolerance);
  EXPECT_LT((s * e->vectors - e->vectors * e->values.asDiagonal())
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

TEST(LinearAlgebra, HermitianMatricesToo) {
  std::srand(8);
  const ComplexMatrix a = ComplexMatrix::Random(kN, kN);
  const ComplexMatrix s = a * a.adjoint() / kN;
  const auto e = EigenOf(s);
  ASSERT_TRUE(e.ok()) << e.status();
  for (int i = 1; i < kN; ++i) EXPECT_GE(e->values[i - 1], e->values[i]);
  EXPECT_LT((s * e->vectors - e->vectors * e->values.asDiagonal())
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

TEST(LinearAlgebra, RootsAreThoseOfTheDampedMatrix) {
  const DoubleMatrix s = RandomSpd(kN);
  const auto roots = RootsOf(s, 0.01);
  ASSERT_TRUE(roots.ok()) << roots.status();
  const DoubleMatrix damped =
      s + 0.01 * s.trace() / kN * DoubleMatrix::Identity(kN, kN);
  EXPECT_LT((roots->root * roots->root - damped).cwiseAbs().maxCoeff(),
            kTolerance);
  EXPECT_LT((roots->root * roots->inverse - DoubleMatrix::Identity(kN, kN))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

TEST(LinearAlgebra, ARidgeFitIsWhereTheGradientVanishes) {
  const DoubleMatrix uu = RandomSpd(kN);
  std::srand(9);
  const DoubleMatrix tu = DoubleMatrix::Random(5, kN);
  const DoubleMatrix prior = DoubleMatrix::Random(5, kN);
  const auto w = RidgeFit(tu, uu, prior, 0.1);
  ASSERT_TRUE(w.ok()) << w.status();
  const double ridge = 0.1 * uu.trace() / kN;
  const DoubleMatrix gradient = *w * uu - tu + ridge * (*w - prior);
  EXPECT_LT(gradient.cwiseAbs().maxCoeff(), kTolerance);
}

TEST(LinearAlgebra, WhatIsNotFiniteIsRefused) {
  DoubleMatrix s = RandomSpd(4);
  s(2, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(EigenOf(s).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(RidgeFit(s, RandomSpd(4), s, 0.1).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// Every entry against a double loop; the rounding error of a sum of 2 * tokens
// products of numbers below 1 is below that many times as many ulps.
TEST(MomentSumTest, IsTheSumOfProducts) {
  const int n = 200, tokens = 70;
  const DoubleMatrix a = DoubleMatrix::Random(n, tokens);
  const DoubleMatrix b = DoubleMatrix::Random(n, tokens);
  MomentSum moment(n, n), square(n, n);
  moment.Add(a, b);
  moment.Add(b, a);
  square.AddSquare(a);
  square.AddSquare(b);
  const DoubleMatrix moments = moment.Divided(tokens);
  const DoubleMatrix squares = square.Divided(tokens);
  const double bound = 4.0 * tokens * 2.3e-16;
  for (int row = 0; row < n; ++row) {
    for (int col = 0; col < n; ++col) {
      double ab = 0, aa = 0;
      for (int t = 0; t < tokens; ++t) {
        ab += a(row, t) * b(col, t) + b(row, t) * a(col, t);
        aa += a(row, t) * a(col, t) + b(row, t) * b(col, t);
      }
      ASSERT_NEAR(moments(row, col), ab / tokens, bound);
      ASSERT_NEAR(squares(row, col), aa / tokens, bound);
    }
  }
}

}  // namespace
}  // namespace mla::runtime

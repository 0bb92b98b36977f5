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

// Every entry against a double loop; many rounds, for products that run at
// once must not meet in OpenBLAS.
TEST(MomentSumTest, IsTheSumOfProductsWhateverTheThreads) {
  kernels::ThreadPool one(1), three(ConcurrentProducts(3));
  const int n = 200, tokens = 70;
  for (int round = 0; round < 20; ++round) {
    const DoubleMatrix a = DoubleMatrix::Random(n, tokens);
    const DoubleMatrix b = DoubleMatrix::Random(n, tokens);
    DoubleMatrix moments[2], squares[2];
    for (int i = 0; i < 2; ++i) {
      kernels::ThreadPool& pool = i == 0 ? one : three;
      MomentSum moment(n, n, pool), square(n, n, pool);
      moment.Add(a, b);
      moment.Add(b, a);
      square.AddSquare(a);
      square.AddSquare(b);
      moments[i] = moment.Divided(tokens);
      squares[i] = square.Divided(tokens);
    }
    EXPECT_EQ(moments[0], moments[1]);
    EXPECT_EQ(squares[0], squares[1]);
    for (int row = 0; row < n; row += 7) {
      for (int col = 0; col < n; ++col) {
        double ab = 0, aa = 0;
        for (int t = 0; t < tokens; ++t) {
          ab += a(row, t) * b(col, t) + b(row, t) * a(col, t);
          aa += a(row, t) * a(col, t) + b(row, t) * b(col, t);
        }
        EXPECT_NEAR(moments[1](row, col), ab / tokens, 1e-13);
        EXPECT_NEAR(squares[1](row, col), aa / tokens, 1e-13);
      }
    }
  }
}

}  // namespace
}  // namespace mla::runtime

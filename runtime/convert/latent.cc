// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/latent.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr double kDamping = 1e-2;

// E|row . y| (root mean square), averaged over rows.
double MeanNorm(const DoubleMatrix& w, const Moments& y) {
  if (w.rows() == 0) return 0;
  return (w * y.second)
      .cwiseProduct(w)
      .rowwise()
      .sum()
      .cwiseMax(0)
      .cwiseSqrt()
      .mean();
}

SquareRoots ScaledIdentity(Eigen::Index n, double scale) {
  return {scale * DoubleMatrix::Identity(n, n),
          DoubleMatrix::Identity(n, n) / scale};
}

// Its total, measured on the rows that it weighs, becomes one.
absl::StatusOr<SquareRoots> Normalized(const DoubleMatrix& metric,
                                       const DoubleMatrix& w,
                                       const Moments& y) {
  const double total =
      (metric * w).cwiseProduct(w * y.second).sum();  // tr(metric w C w')
  return RootsOf(metric / std::max(total, 1e-30), kDamping);
}

// The subspace of z = w y that holds most of its energy.
struct Principal {
  DoubleMatrix axes;  // [rows of w, rank], orthonormal
  DoubleMatrix down;  // axes' w
  DoubleVector spectrum;
};

absl::StatusOr<Principal> PrincipalOf(const DoubleMatrix& w, const Moments& y,
                                      int rank) {
  ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                   EigenOf(DoubleMatrix(w * y.second * w.transpose())));
  const DoubleMatrix axes = e.vectors.leftCols(rank);
  return Principal{axes, axes.transpose() * w, e.values};
}

}  // namespace

LatentMetric BalancedMetric(const RopeSplit& split, const GqaWeights& w,
                            const Moments& y, double balance) {
  const double ratio = MeanNorm(split.k_nope, y) / (balance * MeanNorm(w.v, y));
  const bool usable = std::isfinite(ratio) && ratio > 0;
  return {ScaledIdentity(split.k_nope.rows(), usable ? 1 / ratio : 1),
          ScaledIdentity(w.v.rows(), 1)};
}

LatentMetric PlainMetric(const RopeSplit& split, const GqaWeights& w) {
  return {ScaledIdentity(split.k_nope.rows(), 1),
          ScaledIdentity(w.v.rows(), 1)};
}

absl::StatusOr<LatentMetric> WeightedMetric(const RopeSplit& split,
                                            const GqaWeights& w,
                                            const Moments& y) {
  const int d = w.head_dim;
  DoubleMatrix k = DoubleMatrix::Zero(split.k_nope.rows(), split.k_nope.rows());
  DoubleMatrix v = DoubleMatrix::Zero(w.v.rows(), w.v.rows());
  for (int head = 0; head < w.heads; ++head) {
    const DoubleMatrix query =
        MomentOf(w.q_head(head), w.q_bias.segment(head * d, d), y);
    k += split.q_nope[head] * query * split.q_nope[head].transpose();
    const int at = w.kv_head_of(head) * d;
    v.block(at, at, d, d) += w.o_head(head).transpose() * w.o_head(head);
  }
  LatentMetric metric;
  ASSIGN_OR_RETURN(metric.k, Normalized(k, split.k_nope, y));
  ASSIGN_OR_RETURN(metric.v, Normalized(v, w.v, y));
  return metric;
}

absl::StatusOr<Latent> FitLatent(const RopeSplit& split, const GqaWeights& w,
                                 const Moments& y, const LatentMetric& metric,
                                 int rank) {
  const Eigen::Index keys = split.k_nope.rows();
  const Eigen::Index n = keys + w.v.rows();
  if (rank < 1 || rank > n) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_lora_rank ", rank, ": must be from 1 to ", n));
  }
  DoubleMatrix z(n, w.hidden());
  z << metric.k.root * split.k_nope, metric.v.root * w.v;
  ASSIGN_OR_RETURN(Principal top, PrincipalOf(z, y, rank));
  Latent latent;
  latent.down = std::move(top.down);
  latent.key_up = metric.k.inverse * top.axes.topRows(keys);
  latent.value_up = metric.v.inverse * top.axes.bottomRows(n - keys);
  latent.spectrum = std::move(top.spectrum);
  return latent;
}

absl::StatusOr<Latent> FitTwoLatents(const RopeSplit& split,
                                     const GqaWeights& w, const Moments& y,
                                     int rank) {
  const Eigen::Index most = 2 * std::min(split.k_nope.rows(), w.v.rows());
  if (rank < 2 || rank > most || rank % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_lora_rank ", rank,
                     ": of one latent for keys and one "
                     "for values, must be even, from 2 to ",
                     most));
  }
  const int half = rank / 2;
  ASSIGN_OR_RETURN(const Principal k, PrincipalOf(split.k_nope, y, half));
  ASSIGN_OR_RETURN(const Principal v, PrincipalOf(w.v, y, half));
  Latent latent;
  latent.down.resize(rank, w.hidden());
  latent.down << k.down, v.down;
  latent.key_up = DoubleMatrix::Zero(split.k_nope.rows(), rank);
  latent.key_up.leftCols(half) = k.axes;
  latent.value_up = DoubleMatrix::Zero(w.v.rows(), rank);
  latent.value_up.rightCols(half) = v.axes;
  // Kept components first, as FitLatent has them.
  latent.spectrum.resize(k.spectrum.size() + v.spectrum.size());
  latent.spectrum << k.spectrum.head(half), v.spectrum.head(half),
      k.spectrum.tail(k.spectrum.size() - half),
      v.spectrum.tail(v.spectrum.size() - half);
  return latent;
}

}  // namespace mla::runtime

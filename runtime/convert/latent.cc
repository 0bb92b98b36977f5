// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/latent.h"

#include <algorithm>
#include <cmath>

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

}  // namespace

LatentMetric BalancedMetric(const RopeSplit& split, const GqaWeights& w,
                            const Moments& y, double balance) {
  const double ratio = MeanNorm(split.k_nope, y) / (balance * MeanNorm(w.v, y));
  const bool usable = std::isfinite(ratio) && ratio > 0;
  return {ScaledIdentity(split.k_nope.rows(), usable ? 1 / ratio : 1),
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
  ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                   EigenOf(DoubleMatrix(z * y.second * z.transpose())));
  const DoubleMatrix top = e.vectors.leftCols(rank);
  Latent latent;
  latent.down = top.transpose() * z;
  latent.key_up = metric.k.inverse * top.topRows(keys);
  latent.value_up = metric.v.inverse * top.bottomRows(n - keys);
  latent.spectrum = e.values;
  return latent;
}

}  // namespace mla::runtime

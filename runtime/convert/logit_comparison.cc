// Tested by tests/runtime/logit_comparison_test.cc.
#include "runtime/convert/logit_comparison.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace mla::runtime {
namespace {

Eigen::ArrayXd Doubles(absl::Span<const float> x) {
  return Eigen::Map<const Eigen::ArrayXf>(x.data(), x.size()).cast<double>();
}

}  // namespace

double LogitComparison::Softmax::Norm() const { return most + std::log(sum); }

double LogitComparison::Softmax::Include(absl::Span<const float> logits,
                                         int32_t first, int32_t target_token) {
  const auto size = static_cast<int32_t>(logits.size());
  if (target_token >= first && target_token < first + size) {
    target = logits[target_token - first];
  }
  const float* largest = std::max_element(logits.begin(), logits.end());
  if (!(*largest > most)) return 1;
  const double shrunk = std::exp(most - *largest);
  most = *largest;
  best = first + static_cast<int32_t>(largest - logits.begin());
  sum *= shrunk;
  return shrunk;
}

void LogitComparison::Add(absl::Span<const float> source,
                          absl::Span<const float> converted) {
  gap_ *= source_.Include(source, seen_, target_);
  converted_.Include(converted, seen_, target_);
  const Eigen::ArrayXd a = Doubles(source), b = Doubles(converted);
  const Eigen::ArrayXd weights = (a - source_.most).exp();
  source_.sum += weights.sum();
  gap_ += (weights * (a - b)).sum();
  converted_.sum += (b - converted_.most).exp().sum();
  seen_ += static_cast<int32_t>(source.size());
}

double LogitComparison::Kl() const {
  // Rounding may make it negative. What is not a number stays so.
  return std::max(gap_ / source_.sum - source_.Norm() + converted_.Norm(), 0.0);
}

}  // namespace mla::runtime

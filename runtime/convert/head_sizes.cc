// Tested by tests/runtime/fewer_heads_test.cc.
#include "runtime/convert/head_sizes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "runtime/convert/fit_heads.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/head_groups.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Of the singular values' ratio; weights of less than full rank count as this.
constexpr double kWorstCondition = 1e8;

absl::StatusOr<double> LogCondition(const DoubleMatrix& w) {
  const bool wide = w.cols() >= w.rows();
  ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                   EigenOf(wide ? DoubleMatrix(w * w.transpose())
                                : DoubleMatrix(w.transpose() * w)));
  const double least = std::max(e.values[e.values.size() - 1], 0.0);
  const double floor = e.values[0] / (kWorstCondition * kWorstCondition);
  return 0.5 * std::log(e.values[0] / std::max(least, floor));
}

absl::StatusOr<std::vector<int>> LorcSizes(const WeightReader& reader,
                                           const ModelConfig& config,
                                           int mean) {
  std::vector<double> conditions;
  int most = 2;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    ASSIGN_OR_RETURN(const GqaWeights w, ReadGqaWeights(reader, config, layer));
    ASSIGN_OR_RETURN(const double k, LogCondition(w.k));
    ASSIGN_OR_RETURN(const double v, LogCondition(w.v));
    conditions.push_back(k + v);
    most = 2 * w.kv_heads * w.head_dim;
  }
  if (mean >= 2 && mean <= most) {
    return ProgressiveSizes(conditions, mean, most);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("kv_lora_rank ", mean,
                   ": keys' and values' together must be from 2 to ", most));
}

// Joins heads all over the model, one pair of groups at a time, until no more
// than `total` are left.
absl::StatusOr<std::vector<int>> QcqaSizes(const WeightReader& reader,
                                           const ModelConfig& config,
                                           int64_t total) {
  std::vector<std::vector<double>> errors;  // by layer, of 1, 2, ... groups
  std::vector<int> sizes;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    ASSIGN_OR_RETURN(const GqaWeights w, ReadGqaWeights(reader, config, layer));
    const DoubleMatrix gram = GramOfHeads(w);
    std::vector<double>& error = errors.emplace_back();
    for (int groups = 1; groups <= w.kv_heads; ++groups) {
      error.push_back(SharingError(gram, GroupHeads(gram, groups)));
    }
    sizes.push_back(w.kv_heads);
  }
  if (total < config.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("the budget leaves ", total, " KV heads for ",
                     config.num_layers, " layers: each needs one"));
  }
  int64_t left = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  for (; left > total; --left) {
    int best = -1;
    double least = 0;
    for (int i = 0; i < config.num_layers; ++i) {
      if (sizes[i] == 1) continue;
      const double cost = errors[i][sizes[i] - 2] - errors[i][sizes[i] - 1];
      if (best >= 0 && cost >= least) continue;
      best = i;
      least = cost;
    }
    --sizes[best];
  }
  return sizes;
}

}  // namespace

std::vector<int> ProgressiveSizes(absl::Span<const double> log_conditions,
                                  int mean, int most) {
  std::vector<double> sensitivity(log_conditions.begin(), log_conditions.end());
  for (size_t i = sensitivity.size() - 1; i > 0; --i) {
    sensitivity[i - 1] += sensitivity[i];
  }
  const double last = sensitivity.back();
  const double range = sensitivity.front() - last;
  if (!(range > 0)) return std::vector<int>(sensitivity.size(), mean);
  for (double& s : sensitivity) s = (s - last) / range;
  const double share =
      std::accumulate(sensitivity.begin(), sensitivity.end(), 0.0) /
      static_cast<double>(sensitivity.size());
  double low = mean / 2.0;
  double high = low + (mean - low) / share;
  if (high > most) {
    high = most;
    low = (mean - share * most) / (1 - share);
  }
  std::vector<int> sizes;
  for (const double s : sensitivity) {
    sizes.push_back(
        std::clamp(static_cast<int>(low + (high - low) * s + 1e-9), 2, most));
  }
  return sizes;
}

absl::StatusOr<std::vector<int>> HeadSizes(const WeightReader& reader,
                                           const ModelConfig& config,
                                           const ConversionSpec& spec) {
  const std::vector<int> same(config.num_layers, spec.kv_heads);
  const AttentionConfig& a = config.attention[0];
  const int64_t elements = spec.kv_lora_rank;
  switch (spec.method) {
    case ConversionMethod::kLorc:
      return LorcSizes(reader, config, spec.kv_lora_rank);
    case ConversionMethod::kQcqa:
      if (spec.kv_heads > 0) return same;
      return QcqaSizes(reader, config,
                       elements * config.num_layers / (2 * a.head_dim));
    default:
      if (spec.kv_heads > 0) return same;
  }
  for (int heads = a.kv_heads; heads > 0; --heads) {
    if (a.kv_heads % heads == 0 && 2 * heads * a.head_dim <= elements) {
      return std::vector<int>(config.num_layers, heads);
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a budget of ", elements,
                   " elements a layer: one KV head has ", 2 * a.head_dim));
}

}  // namespace mla::runtime

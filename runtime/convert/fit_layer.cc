// Tested by tests/runtime/one_shot_methods_test.cc.
#include "runtime/convert/fit_layer.h"

#include <vector>

#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Tokens over which a lost rotation counts, when RoPE is selected.
constexpr int kRopeWindow = 1024;

// Eight groups of two, and all lower frequencies in one: those hardly turn
// within a window, and neighbours hardly differ.
std::vector<int> FrequencyGroups(int half) {
  std::vector<int> groups;
  int left = half;
  while (left > half / 2) {
    groups.push_back(left >= 2 ? 2 : left);
    left -= groups.back();
  }
  if (left > 0) groups.push_back(left);
  return groups;
}

}  // namespace

absl::StatusOr<LayerFit> FitLayer(const GqaWeights& w, const Moments& y,
                                  absl::Span<const float> inv_freq,
                                  const ConversionSpec& spec, int rank) {
  const int rope = spec.qk_rope_head_dim;
  ASSIGN_OR_RETURN(
      const RopeSplit split,
      spec.freqfold > 0
          ? SplitByLadder(w, y, inv_freq, rope, spec.freqfold, spec.mixing)
          : SplitBySelection(w, y, inv_freq, rope,
                             FrequencyGroups(w.head_dim / 2), kRopeWindow));
  LatentMetric metric;
  if (spec.method == ConversionMethod::kTransMla) {
    metric = BalancedMetric(split, w, y, spec.balance);
  } else {
    ASSIGN_OR_RETURN(metric, WeightedMetric(split, w, y));
  }
  ASSIGN_OR_RETURN(const Latent latent, FitLatent(split, w, y, metric, rank));
  return LayerFit{PackMla(w, split, latent),
                  latent.spectrum.head(rank).sum() / latent.spectrum.sum()};
}

}  // namespace mla::runtime

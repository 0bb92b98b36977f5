// Tested by tests/runtime/one_shot_methods_test.cc.
#include "runtime/convert/fit_layer.h"

#include <algorithm>
#include <vector>

#include "runtime/convert/latent.h"
#include "runtime/convert/per_head_rope.h"
#include "runtime/convert/shared_rope.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Distances over which a lost rotation counts, when RoPE is selected. With
// 1024, texts of several thousand tokens went astray.
constexpr int kFarthest = 8192;

// Of two while a turn takes few tokens; neighbours among the lower half of the
// frequencies hardly differ within a window, and can be more together.
constexpr int kFewFrequencies = 2;
constexpr int kManyFrequencies = 8;

std::vector<int> FrequencyGroups(int half) {
  std::vector<int> groups;
  for (int left = half; left > 0; left -= groups.back()) {
    groups.push_back(
        std::min(left, left > half / 2 ? kFewFrequencies : kManyFrequencies));
  }
  return groups;
}

absl::StatusOr<RopeSplit> SplitOf(const GqaWeights& w, const Moments& y,
                                  absl::Span<const float> inv_freq,
                                  const ConversionSpec& spec,
                                  const DoubleMatrix& pair_scores) {
  const int rope = spec.qk_rope_head_dim;
  if (spec.method == ConversionMethod::kMha2Mla) {
    return SplitPerHead(w, inv_freq, rope, spec.select, pair_scores);
  }
  if (spec.method == ConversionMethod::kXEcoMla) {
    return SplitShared(w, inv_freq, rope);
  }
  if (spec.freqfold > 0) {
    return SplitByLadder(w, y, inv_freq, rope, spec.freqfold, spec.mixing);
  }
  return SplitBySelection(w, y, inv_freq, rope, FrequencyGroups(w.head_dim / 2),
                          kFarthest);
}

// An SVD of weights is a PCA of what they make of white noise.
Moments WhiteNoise(const GqaWeights& w) {
  const int n = w.hidden();
  return {DoubleMatrix::Identity(n, n), DoubleVector::Zero(n)};
}

absl::StatusOr<Latent> LatentOf(const RopeSplit& split, const GqaWeights& w,
                                const Moments& y, const ConversionSpec& spec,
                                int rank) {
  switch (spec.method) {
    case ConversionMethod::kMha2Mla: {
      const Moments of = spec.from_weights ? WhiteNoise(w) : y;
      return spec.joint_svd
                 ? FitLatent(split, w, of, PlainMetric(split, w), rank)
                 : FitTwoLatents(split, w, of, rank);
    }
    case ConversionMethod::kXEcoMla:
      return FitLatent(split, w, WhiteNoise(w), PlainMetric(split, w), rank);
    case ConversionMethod::kTransMla:
      return FitLatent(split, w, y, BalancedMetric(split, w, y, spec.balance),
                       rank);
    case ConversionMethod::kCare:
      return FitLatent(split, w, y, PlainMetric(split, w), rank);
    case ConversionMethod::kExact:
    case ConversionMethod::kLorc:
    case ConversionMethod::kQcqa:
    case ConversionMethod::kEffKv:
      return absl::InternalError("the method fits no latent of MLA");
    case ConversionMethod::kWeighted:
    case ConversionMethod::kSequential:
      break;
  }
  ASSIGN_OR_RETURN(const LatentMetric metric, WeightedMetric(split, w, y));
  return FitLatent(split, w, y, metric, rank);
}

}  // namespace

absl::StatusOr<LayerFit> FitLayer(const GqaWeights& w, const Moments& y,
                                  absl::Span<const float> inv_freq,
                                  const ConversionSpec& spec, int rank,
                                  const DoubleMatrix& pair_scores) {
  ASSIGN_OR_RETURN(const RopeSplit split,
                   SplitOf(w, y, inv_freq, spec, pair_scores));
  ASSIGN_OR_RETURN(const Latent latent, LatentOf(split, w, y, spec, rank));
  LayerFit fit{PackMla(w, split, latent),
               latent.spectrum.head(rank).sum() / latent.spectrum.sum(),
               latent.spectrum};
  if (spec.q_lora_rank > 0) {
    RETURN_IF_ERROR(FactorQueries(w, split, y, spec.q_lora_rank, fit.weights));
  }
  return fit;
}

bool NeedsPairScores(const ConversionSpec& spec) {
  return spec.method == ConversionMethod::kMha2Mla &&
         spec.select == PairChoice::k2Norm;
}

}  // namespace mla::runtime

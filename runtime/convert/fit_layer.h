// FitLayer: one layer's GQA attention as MLA of a given rank, by the method
// that a ConversionSpec names.
// Threads: a function of its arguments; any.
// Errors:  INVALID_ARGUMENT if sizes do not fit the layer.
#ifndef MLA_RUNTIME_CONVERT_FIT_LAYER_H_
#define MLA_RUNTIME_CONVERT_FIT_LAYER_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/mla_weights.h"

namespace mla::runtime {

struct LayerFit {
  MlaWeights weights;
  double energy_kept = 0;  // of keys and values, as the method weighs them
  DoubleVector spectrum;   // that energy by component, descending
};

// `inv_freq`: [head_dim / 2], of the layer's RoPE. `rank`: of the latent.
// `spec`: its freqfold is a number. `pair_scores`: PairNorms', of a spec that
// needs them; else ignored.
absl::StatusOr<LayerFit> FitLayer(const GqaWeights& w, const Moments& y,
                                  absl::Span<const float> inv_freq,
                                  const ConversionSpec& spec, int rank,
                                  const DoubleMatrix& pair_scores = {});

// Whether FitLayer needs the layer's pair_scores.
bool NeedsPairScores(const ConversionSpec& spec);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_FIT_LAYER_H_

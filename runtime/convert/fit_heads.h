// FitHeads: one layer's attention with less keys and values to cache, in which
// they are still those of heads: nothing is absorbed, RoPE stays as it is.
//   qcqa (2406.10247)  KV heads of like weights share their mean;
//   effkv (2406.07056) neighbouring KV heads share the head_dim directions that
//                      most of their values lie in (SVD of what calibration
//                      text makes of them); of their keys, each frequency
//                      keeps the complex direction that turns for all: the
//                      paper's treatment of RoPE was not readable, this one
//                      commutes with it;
//   lorc (2410.03111)  truncated SVD of the keys' and of the values' weights;
//                      keys are rebuilt before they turn.
// A bias counts as the weight of an input that is always one.
// Threads: functions of their arguments; any.
// Errors:  INVALID_ARGUMENT if sizes do not fit the layer.
#ifndef MLA_RUNTIME_CONVERT_FIT_HEADS_H_
#define MLA_RUNTIME_CONVERT_FIT_HEADS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/head_weights.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {

struct HeadFit {
  HeadWeights weights;
  double energy_kept = 0;  // of keys and values, as the method weighs them
};

// `y`: effkv's only. `size`: a row's elements for lorc, else KV heads; one of
// HeadSizes'.
absl::StatusOr<HeadFit> FitHeads(const GqaWeights& w, const Moments& y,
                                 ConversionMethod method, int size);

// Inner products of KV heads' weights: [kv_heads, kv_heads].
DoubleMatrix GramOfHeads(const GqaWeights& w);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_FIT_HEADS_H_

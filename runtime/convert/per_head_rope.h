// MHA2MLA's partial RoPE (2502.14837, section 3.1): every KV head keeps RoPE on
// some of its pairs and loses it on the others. As a RopeSplit, the rope key is
// the heads' kept pairs side by side, and a query meets only its own head's.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_PER_HEAD_ROPE_H_
#define MLA_RUNTIME_CONVERT_PER_HEAD_ROPE_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/rope_choices.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {

// Sums over tokens of the lengths of a layer's pairs.
class PairNorms {
 public:
  explicit PairNorms(const GqaWeights& w);
  // `y`: what the layer's attention reads, [hidden, tokens].
  void Add(const GqaWeights& w, const DoubleMatrix& y);
  // Of pair j of KV head g: sum over its query heads of E|q_j| E|k_j|,
  // [kv_heads, head_dim / 2].
  DoubleMatrix Scores(const GqaWeights& w) const;

 private:
  DoubleMatrix queries_;  // [heads, head_dim / 2]
  DoubleMatrix keys_;     // [kv_heads, head_dim / 2]
  double tokens_ = 0;
};

// `rope_dim`: of all KV heads together. `scores`: of k2Norm, else ignored.
// INVALID_ARGUMENT if the heads cannot share rope_dim equally.
absl::StatusOr<RopeSplit> SplitPerHead(const GqaWeights& w,
                                       absl::Span<const float> inv_freq,
                                       int rope_dim, PairChoice choice,
                                       const DoubleMatrix& scores);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_PER_HEAD_ROPE_H_

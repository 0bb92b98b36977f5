// GqaWeights: one GQA layer's attention in doubles, as conversion needs it.
// Threads: a plain value; any. Errors: WeightReader's.
#ifndef MLA_RUNTIME_CONVERT_GQA_WEIGHTS_H_
#define MLA_RUNTIME_CONVERT_GQA_WEIGHTS_H_

#include "absl/status/statusor.h"
#include "runtime/convert/linear_algebra.h"
#include "runtime/model_config.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

// Heads are blocks of head_dim rows, whose rotated pairs are (i, i + dim/2).
struct GqaWeights {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DoubleMatrix q;               // [heads * head_dim, hidden]
  DoubleMatrix k, v;            // [kv_heads * head_dim, hidden]
  DoubleMatrix o;               // [hidden, heads * head_dim]
  DoubleVector q_bias, k_bias;  // zeros where the model has none
  DoubleVector v_bias, o_bias;

  int hidden() const { return static_cast<int>(q.cols()); }
  int kv_head_of(int head) const { return head / (heads / kv_heads); }
  auto q_head(int head) const {
    return q.middleRows(head * head_dim, head_dim);
  }
  auto o_head(int head) const {
    return o.middleCols(head * head_dim, head_dim);
  }
};

// UNIMPLEMENTED if the layer is no plain GQA (a norm between projection and
// RoPE, say): such a layer can only be served as it is.
absl::StatusOr<GqaWeights> ReadGqaWeights(const WeightReader& reader,
                                          const ModelConfig& config, int layer);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_GQA_WEIGHTS_H_

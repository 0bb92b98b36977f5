// AttentionForm: how one kind of checkpoint writes attention down. Adding a
// system means adding a form, or a line to one: see CONTRIBUTING.md.
// Threads: any.
#ifndef MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_
#define MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_

#include "absl/status/status.h"
#include "runtime/attention/attention_config.h"
#include "runtime/attention/attention_layer.h"
#include "runtime/attention/layer_weights.h"

namespace mla::runtime {

struct AttentionForm {
  const char* name;
  absl::Status (*validate)(const AttentionConfig&);
  int (*query_head_dim)(const AttentionConfig&);
  int (*output_head_dim)(const AttentionConfig&);
  kernels::AttnLayout (*layout)(const AttentionConfig&);
  // Weights besides those of the queries, the row and the output.
  int64_t (*up_parameters)(const AttentionConfig&);
  // Reads the layer's tensors: everything of `layer` but what LoadAttention
  // knows from the config. Errors name the tensor.
  absl::Status (*load)(const LayerWeights&, const AttentionConfig&,
                       AttentionLayer& layer);
};

extern const AttentionForm kGqaForm;
extern const AttentionForm kMlaForm;
extern const AttentionForm kMha2MlaForm;
extern const AttentionForm kGtaForm;
extern const AttentionForm kMfaForm;
extern const AttentionForm kLowRankForm;
extern const AttentionForm kMoasForm;

const AttentionForm& FormOf(AttentionKind kind);

// The layer numbered `index`, whose tensors are `weights`.
absl::StatusOr<AttentionLayer> LoadAttention(const LayerWeights& weights,
                                             const AttentionConfig& config,
                                             int index);

// What forms share.
// Head sizes in range, and as many query heads for every KV head.
absl::Status CheckHeads(const AttentionConfig& config);
// `dim` outputs per KV head -> the same once for each query head that reads it.
OutputBlock ForQueryHeads(const OutputBlock& kv, const AttentionConfig& config,
                          int dim);
// `in` is [q | row | more]; a block may be empty.
void SetInput(const LayerWeights& weights, const OutputBlock& q,
              const OutputBlock& row, const OutputBlock& more,
              AttentionLayer& layer);
// The output projection, under the names that published code gives it.
absl::StatusOr<OutputBlock> ReadOutput(const LayerWeights& weights, int inputs);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_

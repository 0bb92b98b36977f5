// AttentionForm: how one kind of checkpoint writes attention down. Adding a
// system means adding a form, or a line to one: see CONTRIBUTING.md.
// Threads: any.
#ifndef MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_
#define MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_

#include <string>

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
  // Turns a config whose `rank` is set into that rank's.
  absl::Status (*shard)(AttentionConfig&);
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
// For `shard`. Each rank has some of the heads, and reads the whole row...
absl::Status ShardHeads(AttentionConfig& config);
// ...or its KV heads' part of it; where there are more ranks than KV heads,
// several share one.
absl::Status ShardKvHeads(AttentionConfig& config);
// INVALID_ARGUMENT unless `value` is a multiple of `parts`.
absl::Status CheckDivides(const char* what, int value, int parts);
// `dim` outputs per KV head -> the same once for each query head that reads it.
OutputBlock ForQueryHeads(const OutputBlock& kv, const AttentionConfig& config,
                          int dim);
// `in` is [q | row | more]; a block may be empty.
void SetInput(const LayerWeights& weights, const OutputBlock& q,
              const OutputBlock& row, const OutputBlock& more,
              AttentionLayer& layer);
// The output projection of the config's heads, `head_dim` inputs each, under
// the names that published code gives it, or under `name`. Of several ranks,
// whose outputs are summed, the first has the bias.
absl::StatusOr<OutputBlock> ReadOutput(const LayerWeights& weights,
                                       const AttentionConfig& config,
                                       int head_dim, std::string name = "");

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_ATTENTION_FORM_H_

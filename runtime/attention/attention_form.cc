// Tested by tests/runtime/model_golden_test.cc and tests/e2e/layouts_test.py.
#include "runtime/attention/attention_form.h"

#include "runtime/status_macros.h"

namespace mla::runtime {

const AttentionForm& FormOf(AttentionKind kind) {
  switch (kind) {
    case AttentionKind::kGqa:
      return kGqaForm;
    case AttentionKind::kMla:
      return kMlaForm;
    case AttentionKind::kMha2Mla:
      return kMha2MlaForm;
    case AttentionKind::kGta:
      return kGtaForm;
    case AttentionKind::kMfa:
      return kMfaForm;
    case AttentionKind::kLowRank:
      return kLowRankForm;
    case AttentionKind::kMoas:
      return kMoasForm;
  }
  return kGqaForm;
}

absl::StatusOr<AttentionLayer> LoadAttention(const LayerWeights& weights,
                                             const AttentionConfig& a,
                                             int index) {
  AttentionLayer layer;
  layer.rope = a.rope;
  layer.position_beta = a.position_beta;
  layer.position_period = a.position_period;
  layer.index_n_heads = a.index_n_heads;
  layer.index_head_dim = a.index_head_dim;
  layer.index_topk = a.index_topk;
  layer.cache_layer = a.cache_layer < 0 ? index : a.cache_layer;
  layer.attention.layout = a.Layout();
  layer.attention.scale = a.scale;
  layer.attention.rope = a.rope;
  layer.query_width = layer.attention.layout.heads * a.query_head_dim();
  layer.attended_width = layer.attention.layout.heads * a.output_head_dim();
  RETURN_IF_ERROR(FormOf(a.kind).load(weights, a, layer));
  return layer;
}

void SetInput(const LayerWeights& weights, const OutputBlock& q,
              const OutputBlock& row, const OutputBlock& more,
              AttentionLayer& layer) {
  layer.q_width = q.outputs;
  layer.row_width = row.outputs;
  layer.more_width = more.outputs;
  layer.in = weights.Upload(Concatenate({q, row, more}));
}

absl::StatusOr<OutputBlock> ReadOutput(const LayerWeights& weights,
                                       int inputs) {
  const char* name = "o_proj";
  for (const char* other : {"c_proj", "out_proj", "wo"}) {
    if (weights.Has(std::string(other) + ".weight")) name = other;
  }
  return weights.Read(name, weights.hidden_size(), inputs);
}

}  // namespace mla::runtime

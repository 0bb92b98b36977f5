// Tested by tests/runtime/model_golden_test.cc and tests/e2e/layouts_test.py.
#include "runtime/attention/attention_form.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
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

absl::Status CheckHeads(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckBetween("num_key_value_heads", a.kv_heads, 1, a.heads));
  RETURN_IF_ERROR(CheckBetween("head_dim", a.head_dim, 2, 4096));
  if (a.heads % a.kv_heads == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("num_attention_heads ", a.heads,
                   " is not a multiple of num_key_value_heads ", a.kv_heads));
}

absl::Status CheckDivides(const char* what, int value, int parts) {
  if (value % parts == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " ", value, " cannot be divided among ", parts, " ranks"));
}

absl::Status ShardHeads(AttentionConfig& a) {
  RETURN_IF_ERROR(CheckDivides("num_attention_heads", a.heads, a.rank.count));
  a.heads /= a.rank.count;
  a.head_part = a.rank;
  return absl::OkStatus();
}

absl::Status ShardKvHeads(AttentionConfig& a) {
  RETURN_IF_ERROR(ShardHeads(a));
  const int ranks = a.rank.count;
  const int parts = std::min(ranks, a.kv_heads);
  if (ranks % parts != 0 || a.kv_heads % parts != 0) {
    return CheckDivides("num_key_value_heads", a.kv_heads, ranks);
  }
  a.kv_heads /= parts;
  a.group_part = {a.rank.index * parts / ranks, parts};
  return absl::OkStatus();
}

OutputBlock ForQueryHeads(const OutputBlock& kv, const AttentionConfig& a,
                          int dim) {
  std::vector<int> map;
  for (int h = 0; h < a.heads; ++h) {
    const int first = h / (a.heads / a.kv_heads) * dim;
    for (int i = 0; i < dim; ++i) map.push_back(first + i);
  }
  return Select(kv, std::move(map));
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
                                       const AttentionConfig& a, int head_dim,
                                       std::string name) {
  if (name.empty()) {
    name = "o_proj";
    for (const char* other : {"c_proj", "out_proj", "wo"}) {
      if (weights.Has(std::string(other) + ".weight")) name = other;
    }
  }
  const int inputs = a.heads * head_dim;
  ASSIGN_OR_RETURN(
      const OutputBlock out,
      weights.Read(name, weights.hidden_size(), inputs * a.head_part.count));
  OutputBlock part = InputPart(out, a.head_part);
  if (a.rank.index > 0) part.bias.clear();
  return part;
}

}  // namespace mla::runtime

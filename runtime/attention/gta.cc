// GTA (2505.21487): one tied vector per KV head is its value, and the first
// part of it its key; the rest of the key is one rope key that all heads share:
// row [kv_0 | kv_1 | ... | k_rope]. Names as in the MLRA authors' code.
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckHeads(a));
  return CheckBetween("rope dim", a.qk_rope_head_dim, 2, a.head_dim - 1);
}

int HeadDim(const AttentionConfig& a) { return a.head_dim; }

kernels::AttnLayout Layout(const AttentionConfig& a) {
  const int d = a.head_dim;
  kernels::AttnLayout l;
  l.row_width = a.kv_heads * d + a.qk_rope_head_dim;
  l.groups = a.kv_heads;
  l.heads = a.heads;
  l.key[0] = {0, d, d - a.qk_rope_head_dim};
  l.key[1] = {a.kv_heads * d, 0, a.qk_rope_head_dim};
  l.value[0] = {0, d, d};
  return l;
}

int64_t UpParameters(const AttentionConfig&) { return 0; }

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int hidden = weights.hidden_size();
  const int d = a.head_dim;
  const int rope = a.qk_rope_head_dim;
  ASSIGN_OR_RETURN(const OutputBlock q,
                   weights.Read("c_q", a.heads * d, hidden, a.head_part));
  ASSIGN_OR_RETURN(const OutputBlock kv, weights.Read("kv_proj", a.kv_heads * d,
                                                      hidden, a.group_part));
  ASSIGN_OR_RETURN(const OutputBlock k_rope,
                   weights.Read("W_rope_k", rope, hidden));
  SetInput(weights, q, Concatenate({kv, k_rope}), {}, layer);
  layer.q_rotations.push_back({{d - rope, a.heads, d, rope}});
  layer.row_rotations.push_back({{a.kv_heads * d, 1, 0, rope}});
  ASSIGN_OR_RETURN(const OutputBlock out, ReadOutput(weights, a, d));
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kGtaForm = {"gta",  Validate,     HeadDim,      HeadDim,
                                Layout, UpParameters, ShardKvHeads, Load};

}  // namespace mla::runtime

// MHA2MLA (2502.14837): a latent of keys and values, jointly or one of each,
// and a rope key for every KV head: row [c | k_rope 0 | k_rope 1 | ...]. Only
// some of a head's frequencies turn; which ones, the rope knows.
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckHeads(a));
  RETURN_IF_ERROR(
      CheckBetween("rope_dim_for_mla", a.qk_rope_head_dim, 2, a.head_dim - 1));
  RETURN_IF_ERROR(CheckBetween("low_rank", a.k_rank, 1, 1 << 17));
  return CheckBetween("low_rank", a.v_rank, 0, 1 << 17);
}

int HeadDim(const AttentionConfig& a) { return a.head_dim; }

// v_rank 0: keys and values share one latent.
kernels::AttnLayout Layout(const AttentionConfig& a) {
  kernels::AttnLayout l;
  const int latent = a.k_rank + a.v_rank;
  const int rope = a.qk_rope_head_dim;
  l.row_width = latent + a.kv_heads * rope;
  l.groups = a.kv_heads;
  l.heads = a.heads;
  l.key[0] = {0, 0, a.k_rank};
  l.key[1] = {latent, rope, rope};
  l.value[0] = a.v_rank > 0 ? kernels::Slice{a.k_rank, 0, a.v_rank}
                            : kernels::Slice{0, 0, a.k_rank};
  return l;
}

// [every head's rope | every head's rest] -> per head [rest | rope].
OutputBlock PerHead(const OutputBlock& q, int heads, int rest, int rope) {
  std::vector<int> map;
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < rest; ++i) map.push_back(heads * rope + h * rest + i);
    for (int i = 0; i < rope; ++i) map.push_back(h * rope + i);
  }
  return Select(q, std::move(map));
}

int64_t UpParameters(const AttentionConfig& a) {
  return int64_t{a.kv_heads} *
         (int64_t{a.head_dim - a.qk_rope_head_dim} * a.k_rank +
          int64_t{a.head_dim} * (a.v_rank > 0 ? a.v_rank : a.k_rank));
}

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int hidden = weights.hidden_size();
  const int d = a.head_dim;
  const int rope = a.qk_rope_head_dim;
  const int rest = d - rope;
  const int all_heads = a.heads * a.head_part.count;
  ASSIGN_OR_RETURN(const OutputBlock q,
                   weights.Read("q_proj", all_heads * d, hidden));
  ASSIGN_OR_RETURN(
      const OutputBlock k_rope,
      weights.Read("k_r_proj", a.kv_heads * rope, hidden, a.group_part));
  std::vector<OutputBlock> row;
  if (a.v_rank == 0) {
    ASSIGN_OR_RETURN(row.emplace_back(),
                     weights.Read("kv_proj.down_kv", a.k_rank, hidden));
  } else {
    ASSIGN_OR_RETURN(row.emplace_back(),
                     weights.Read("kv_proj.down_k", a.k_rank, hidden));
    ASSIGN_OR_RETURN(row.emplace_back(),
                     weights.Read("kv_proj.down_v", a.v_rank, hidden));
  }
  row.push_back(k_rope);
  SetInput(weights, OutputPart(PerHead(q, all_heads, rest, rope), a.head_part),
           Concatenate(std::move(row)), {}, layer);
  const int first = a.k_rank + a.v_rank;
  layer.row_rotations.push_back({{first, a.kv_heads, rope, rope}});
  layer.q_rotations.push_back({{rest, a.heads, d, rope}});

  // A key's bias adds the same to all of a query's scores, which softmax does
  // not see; a value's adds a constant, since weights sum to one.
  ASSIGN_OR_RETURN(
      OutputBlock up_k,
      weights.Read("kv_proj.up_k", a.kv_heads * rest, a.k_rank, a.group_part));
  up_k.bias.clear();
  ASSIGN_OR_RETURN(
      const OutputBlock up_v,
      weights.Read("kv_proj.up_v", a.kv_heads * d,
                   a.v_rank > 0 ? a.v_rank : a.k_rank, a.group_part));
  const OutputBlock values = ForQueryHeads(up_v, a, d);
  layer.attention.up = weights.UploadUp(ForQueryHeads(up_k, a, rest), a.heads,
                                        /*absorb=*/true, values, a.heads);
  ASSIGN_OR_RETURN(OutputBlock out, ReadOutput(weights, a, d));
  if (!values.bias.empty()) out.bias = ApplyTo(out, values.bias);
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kMha2MlaForm = {"mha2mla",    Validate, HeadDim,
                                    HeadDim,      Layout,   UpParameters,
                                    ShardKvHeads, Load};

}  // namespace mla::runtime

// Low-rank keys under RoPE: what is rotated after it is rebuilt cannot be
// absorbed, so a group's keys are built when they are read. Values are
// absorbed.
//   LoRC (2410.03111): row [k latent | v latent], K = W_b (W_a x).
//   LRKV (2601.11471): row [k | v | k residuals | v residuals]; a head's key is
//   the shared one plus its own low-rank residual, and so is its value.
// No published code was found for either; names are our own.
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

bool IsLrkv(const AttentionConfig& a) { return a.residuals; }

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckHeads(a));
  RETURN_IF_ERROR(CheckBetween("k_rank", a.k_rank, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("v_rank", a.v_rank, 1, 65536));
  return CheckBetween("heads * ranks",
                      int64_t{a.kv_heads} * (a.k_rank + a.v_rank), 1, 1 << 26);
}

int HeadDim(const AttentionConfig& a) { return a.head_dim; }

kernels::AttnLayout Layout(const AttentionConfig& a) {
  kernels::AttnLayout l;
  l.heads = a.heads;
  l.groups = a.kv_heads;
  l.rotate_on_read = true;
  const int shared = a.head_dim;
  if (!IsLrkv(a)) {
    l.row_width = a.k_rank + a.v_rank;
    l.key[0] = {0, 0, a.k_rank};
    l.value[0] = {a.k_rank, 0, a.v_rank};
    return l;
  }
  const int residuals = 2 * shared;
  const int values = residuals + a.kv_heads * a.k_rank;
  l.row_width = values + a.kv_heads * a.v_rank;
  l.key[0] = {0, 0, shared};
  l.key[1] = {residuals, a.k_rank, a.k_rank};
  l.value[0] = {shared, 0, shared};
  l.value[1] = {values, a.v_rank, a.v_rank};
  return l;
}

// [1 | B] for every head, where `b` has B's rows.
OutputBlock WithIdentity(const OutputBlock& b, int d) {
  OutputBlock block;
  block.outputs = b.outputs;
  block.inputs = d + b.inputs;
  block.rows = [rows = b.rows, d](int row, float* dst) {
    for (int i = 0; i < d; ++i) dst[i] = i == row % d ? 1.0f : 0.0f;
    rows(row, dst + d);
  };
  return block;
}

int64_t UpParameters(const AttentionConfig& a) {
  return int64_t{a.kv_heads} * a.head_dim * (a.k_rank + a.v_rank);
}

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int hidden = weights.hidden_size();
  const int d = a.head_dim;
  const int per_head = IsLrkv(a) ? a.kv_heads : 1;
  const Part down_part = IsLrkv(a) ? a.group_part : Part();
  ASSIGN_OR_RETURN(const OutputBlock q,
                   weights.Read("q_proj", a.heads * d, hidden, a.head_part));
  std::vector<OutputBlock> row;
  if (IsLrkv(a)) {
    for (const char* name : {"k_proj", "v_proj"}) {
      ASSIGN_OR_RETURN(row.emplace_back(), weights.Read(name, d, hidden));
    }
  }
  ASSIGN_OR_RETURN(
      row.emplace_back(),
      weights.Read("k_a_proj", per_head * a.k_rank, hidden, down_part));
  ASSIGN_OR_RETURN(
      row.emplace_back(),
      weights.Read("v_a_proj", per_head * a.v_rank, hidden, down_part));
  SetInput(weights, q, Concatenate(std::move(row)), {}, layer);
  layer.q_rotations.push_back({{0, a.heads, d, d}});

  ASSIGN_OR_RETURN(OutputBlock k_b, weights.Read("k_b_proj", a.kv_heads * d,
                                                 a.k_rank, a.group_part));
  ASSIGN_OR_RETURN(OutputBlock v_b, weights.Read("v_b_proj", a.kv_heads * d,
                                                 a.v_rank, a.group_part));
  if (IsLrkv(a)) {
    k_b = WithIdentity(k_b, d);
    v_b = WithIdentity(v_b, d);
  }
  layer.attention.up = weights.UploadUp(k_b, a.kv_heads, /*absorb=*/false,
                                        ForQueryHeads(v_b, a, d), a.heads);
  ASSIGN_OR_RETURN(const OutputBlock out, ReadOutput(weights, a, d));
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kLowRankForm = {"low-rank",   Validate, HeadDim,
                                    HeadDim,      Layout,   UpParameters,
                                    ShardKvHeads, Load};

}  // namespace mla::runtime

// Attention with one wide key for all heads, and queries through a latent.
//   MFA (2412.19255): row [k | v], both as wide as a query head.
//   MFA-KR: row [k] before its rotation; v = (1 + diag(alpha) N) k, which every
//   head's output absorbs. Keys are rotated when they are read.
//   Tucker attention (2603.30033): row [k | v] of the two ranks; the cores give
//   every head its query over k and its value over v.
// Names of MFA as in the MLRA authors' code, of the others our own.
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status Validate(const AttentionConfig& a) {
  RETURN_IF_ERROR(CheckBetween("share_q_dim", a.q_lora_rank, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("head_dim", a.k_rank, 2, 65536));
  RETURN_IF_ERROR(CheckBetween("v_rank", a.v_rank, 1, 65536));
  return CheckBetween("v_head_dim", a.v_head_dim, 1, 65536);
}

int QueryHeadDim(const AttentionConfig& a) { return a.k_rank; }
int OutputHeadDim(const AttentionConfig& a) { return a.v_head_dim; }

kernels::AttnLayout Layout(const AttentionConfig& a) {
  kernels::AttnLayout l;
  l.heads = a.heads;
  l.key[0] = {0, 0, a.k_rank};
  l.value[0] = {a.rotate_on_read ? 0 : a.k_rank, 0, a.v_rank};
  l.row_width = a.k_rank + (a.rotate_on_read ? 0 : a.v_rank);
  l.rotate_on_read = a.rotate_on_read;
  return l;
}

// The same [v_dim, v_rank] for every head.
OutputBlock ForEveryHead(const OutputBlock& block, int heads) {
  return Concatenate(std::vector<OutputBlock>(heads, block));
}

// 1 + diag(alpha) N
absl::StatusOr<OutputBlock> ReadValueMap(const LayerWeights& weights, int dim) {
  ASSIGN_OR_RETURN(const OutputBlock n, weights.Read("value_map", dim, dim));
  ASSIGN_OR_RETURN(const std::vector<float> alpha,
                   weights.ReadVector("value_scale", dim));
  OutputBlock map = n;
  map.rows = [rows = n.rows, alpha, dim](int row, float* dst) {
    rows(row, dst);
    for (int i = 0; i < dim; ++i) dst[i] = dst[i] * alpha[row] + (i == row);
  };
  return map;
}

int64_t UpParameters(const AttentionConfig& a) {
  if (a.rotate_on_read) return int64_t{a.k_rank} * a.k_rank;
  const bool core = a.v_head_dim != a.v_rank;
  return core ? int64_t{a.heads} * a.v_head_dim * a.v_rank : 0;
}

absl::Status Load(const LayerWeights& weights, const AttentionConfig& a,
                  AttentionLayer& layer) {
  const int hidden = weights.hidden_size();
  ASSIGN_OR_RETURN(const OutputBlock q,
                   weights.Read("c_q", a.q_lora_rank, hidden));
  ASSIGN_OR_RETURN(const OutputBlock k, weights.Read("c_k", a.k_rank, hidden));
  std::vector<OutputBlock> row = {k};
  OutputBlock values;
  if (a.rotate_on_read) {
    ASSIGN_OR_RETURN(const OutputBlock map, ReadValueMap(weights, a.k_rank));
    values = ForEveryHead(map, a.heads);
  } else {
    ASSIGN_OR_RETURN(row.emplace_back(), weights.Read("c_v", a.v_rank, hidden));
    layer.row_rotations.push_back({{0, 1, 0, a.k_rank}});
  }
  if (weights.Has("v_core.weight")) {
    ASSIGN_OR_RETURN(values, weights.Read("v_core", a.heads * a.v_head_dim,
                                          a.v_rank, a.head_part));
  }
  SetInput(weights, q, Concatenate(std::move(row)), {}, layer);
  if (a.latent_norms) {
    ASSIGN_OR_RETURN(const float* norm,
                     weights.UploadNorm("q_layernorm.weight", a.q_lora_rank));
    layer.q_a_norms.push_back(
        {{0, 1, 0, a.q_lora_rank}, norm, nullptr, weights.norm_eps()});
  }
  ASSIGN_OR_RETURN(
      const OutputBlock q_b,
      weights.Read("w_q", a.heads * a.k_rank, a.q_lora_rank, a.head_part));
  layer.q_b = weights.Upload(q_b);
  layer.q_b_width = q_b.outputs;
  layer.q_rotations.push_back({{0, a.heads, a.k_rank, a.k_rank}});
  if (values.outputs > 0) {
    layer.attention.up =
        weights.UploadUp({}, 0, /*absorb=*/false, values, a.heads);
  }
  ASSIGN_OR_RETURN(const OutputBlock out, ReadOutput(weights, a, a.v_head_dim));
  layer.out = weights.Upload(out);
  return absl::OkStatus();
}

}  // namespace

const AttentionForm kMfaForm = {"mfa",         Validate, QueryHeadDim,
                                OutputHeadDim, Layout,   UpParameters,
                                ShardHeads,    Load};

}  // namespace mla::runtime

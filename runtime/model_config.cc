// Tested by tests/runtime/model_config_test.cc.
#include "runtime/model_config.h"

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kMaxLayers = 4096;
constexpr int kMaxPosition = 1 << 26;

absl::Status Between(const char* what, int64_t value, int64_t low,
                     int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      what, " is ", value, ", must be in [", low, ", ", high, "]"));
}

absl::Status ValidateAttention(const AttentionConfig& a) {
  RETURN_IF_ERROR(Between("num_attention_heads", a.heads, 1, 65536));
  if (a.kind == AttentionConfig::Kind::kGqa) {
    RETURN_IF_ERROR(Between("num_key_value_heads", a.kv_heads, 1, a.heads));
    RETURN_IF_ERROR(Between("head_dim", a.head_dim, 2, 65536));
    if (a.heads % a.kv_heads != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "num_attention_heads ", a.heads,
          " is not a multiple of num_key_value_heads ", a.kv_heads));
    }
    return Between("kv row width", int64_t{2} * a.kv_heads * a.head_dim, 1,
                   kMaxModelSize);
  }
  RETURN_IF_ERROR(Between("q_lora_rank", a.q_lora_rank, 0, kMaxModelSize));
  RETURN_IF_ERROR(Between("kv_lora_rank", a.kv_lora_rank, 1, kMaxModelSize));
  RETURN_IF_ERROR(Between("qk_nope_head_dim", a.qk_nope_head_dim, 1, 65536));
  RETURN_IF_ERROR(Between("qk_rope_head_dim", a.qk_rope_head_dim, 2, 65536));
  if (a.index_topk > 0) {
    RETURN_IF_ERROR(Between("index_n_heads", a.index_n_heads, 1, 65536));
    RETURN_IF_ERROR(
        Between("index_head_dim", a.index_head_dim, a.qk_rope_head_dim, 65536));
    RETURN_IF_ERROR(
        Between("q_lora_rank with an indexer", a.q_lora_rank, 1, 65536));
  }
  return Between("v_head_dim", a.v_head_dim, 1, 65536);
}

absl::Status ValidateMoe(const MoeConfig& moe) {
  RETURN_IF_ERROR(Between("number of experts", moe.experts, 1, 65536));
  RETURN_IF_ERROR(Between("zero_expert_num", moe.identity_experts, 0, 65536));
  const int experts = moe.experts + moe.identity_experts;
  const kernels::RouterArgs& router = moe.router;
  RETURN_IF_ERROR(Between("n_group", router.groups, 1, experts));
  RETURN_IF_ERROR(Between("topk_group", router.top_groups, 1, router.groups));
  if (experts % router.groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("n_routed_experts ", experts,
                     " is not a multiple of n_group ", router.groups));
  }
  RETURN_IF_ERROR(Between("num_experts_per_tok", router.top_k, 1,
                          experts / router.groups * router.top_groups));
  RETURN_IF_ERROR(Between("moe_intermediate_size", moe.intermediate_size, 1,
                          kMaxModelSize));
  return Between("shared experts' intermediate size",
                 moe.shared_intermediate_size, 0, kMaxModelSize);
}

}  // namespace

kernels::AttnLayout AttentionConfig::Layout() const {
  return kind == Kind::kMla
             ? kernels::MlaLayout(heads, kv_lora_rank, qk_rope_head_dim,
                                  index_head_dim)
             : kernels::GqaLayout(heads, kv_heads, head_dim);
}

int64_t ModelConfig::KvBytesPerToken(kernels::DType row_dtype) const {
  return int64_t{num_layers} * attention.Layout().row_width *
         kernels::SizeOf(row_dtype);
}

int64_t ModelConfig::Parameters() const {
  const AttentionConfig& a = attention;
  const int64_t hidden = hidden_size;
  const int64_t q = int64_t{a.heads} * a.query_head_dim();
  int64_t attn =
      hidden * a.Layout().row_width + hidden * a.heads * a.output_head_dim();
  attn += a.q_lora_rank > 0 ? a.q_lora_rank * (hidden + q) : hidden * q;
  if (a.kind == AttentionConfig::Kind::kMla) {
    attn +=
        int64_t{a.kv_lora_rank} * a.heads * (a.qk_nope_head_dim + a.v_head_dim);
  }
  if (a.index_topk > 0) {
    attn += hidden * a.index_n_heads +
            int64_t{a.q_lora_rank} * a.index_n_heads * a.index_head_dim;
  }
  int64_t total = hidden * vocab_size * (tied_embeddings ? 1 : 2);
  for (int layer = 0; layer < num_layers; ++layer) {
    total += attn;
    if (IsMoe(layer)) {
      total += hidden * (moe->experts + moe->identity_experts) +
               3 * hidden * moe->intermediate_size * moe->experts +
               3 * hidden * moe->shared_intermediate_size;
    }
    if (IsDense(layer)) total += 3 * hidden * intermediate_size;
  }
  return total;
}

absl::Status Validate(const ModelConfig& c) {
  RETURN_IF_ERROR(Between("vocab_size", c.vocab_size, 1, kMaxModelSize));
  RETURN_IF_ERROR(Between("hidden_size", c.hidden_size, 1, kMaxModelSize));
  RETURN_IF_ERROR(Between("num_hidden_layers", c.num_layers, 1, kMaxLayers));
  RETURN_IF_ERROR(
      Between("max_position_embeddings", c.max_position, 1, kMaxPosition));
  if (!c.moe || c.moe->first_layer > 0) {
    RETURN_IF_ERROR(
        Between("intermediate_size", c.intermediate_size, 1, kMaxModelSize));
  }
  if (!(c.norm_eps > 0) || !(c.norm_eps < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rms_norm_eps is ", c.norm_eps, ", must be in (0, 1)"));
  }
  RETURN_IF_ERROR(ValidateAttention(c.attention));
  if (c.moe) RETURN_IF_ERROR(ValidateMoe(*c.moe));
  for (int32_t id : c.eos_token_ids) {
    RETURN_IF_ERROR(Between("eos_token_id", id, 0, c.vocab_size - 1));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

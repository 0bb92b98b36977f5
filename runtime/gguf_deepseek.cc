// Tested by tests/runtime/gguf_deepseek_test.cc and
// tests/e2e/gguf_deepseek_test.py.
#include "runtime/gguf_deepseek.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Of expert_gating_func.
enum Gating { kUnset = 0, kSoftmax = 1, kSigmoid = 2 };

// Keys that would change what is computed, and their values that do not.
absl::Status RefuseUnsupported(const GgufFields& fields) {
  constexpr std::pair<const char*, float> kHarmless[] = {
      {"rope.scaling.attn_factor", 1},
      {"rope.scaling.yarn_attn_factor", 1},
      {"rope.scaling.yarn_ext_factor", 1},
      {"attention.temperature_scale", 0},  // Mistral Large 3
  };
  for (const auto& [key, harmless] : kHarmless) {
    ASSIGN_OR_RETURN(const float value, fields.Float(key, harmless));
    if (value == harmless) continue;
    return absl::UnimplementedError(absl::StrCat(
        "GGUF key '", fields.Key(key), "': ", value, " is not supported"));
  }
  return absl::OkStatus();
}

absl::Status ReadAttention(const GgufFields& fields,
                           absl::Span<const float> divisors, ModelConfig& c) {
  AttentionConfig a;
  a.kind = AttentionKind::kMla;
  a.rope_interleaved = true;  // as in DeepSeek's checkpoints
  ASSIGN_OR_RETURN(a.heads, fields.Between("attention.head_count", 1, 65536));
  ASSIGN_OR_RETURN(a.q_lora_rank, fields.Int("attention.q_lora_rank", 0));
  ASSIGN_OR_RETURN(a.kv_lora_rank, fields.Int("attention.kv_lora_rank"));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim, fields.Int("rope.dimension_count"));
  const bool mqa = fields.Has("attention.key_length_mla");
  const char* key_length =
      mqa ? "attention.key_length_mla" : "attention.key_length";
  ASSIGN_OR_RETURN(const int key, fields.Int(key_length));
  ASSIGN_OR_RETURN(a.v_head_dim, fields.Int(mqa ? "attention.value_length_mla"
                                                : "attention.value_length"));
  a.qk_nope_head_dim = key - a.qk_rope_head_dim;
  if (a.qk_nope_head_dim < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "GGUF key '", fields.Key(key_length), "': of ", key, " elements, ",
        a.qk_rope_head_dim, " cannot be the rotated ones"));
  }
  // A tenth of mscale_all_dim. Its cosines and sines keep amplitude 1: DeepSeek
  // has mscale == mscale_all_dim, and mscale has no key.
  ASSIGN_OR_RETURN(const float log_multiplier,
                   fields.Float("rope.scaling.yarn_log_multiplier", 0));
  ASSIGN_OR_RETURN(const Rope rope,
                   ReadGgufRope(fields, a.qk_rope_head_dim, c.max_position,
                                divisors, 10.0 * double{log_multiplier}));
  a.scale = rope.score_factor / std::sqrt(static_cast<float>(key));
  c.ropes = {rope};
  c.attention.assign(c.num_layers, a);
  return absl::OkStatus();
}

absl::Status ReadRouter(const GgufFields& fields, kernels::RouterArgs& router) {
  ASSIGN_OR_RETURN(router.top_k, fields.Int("expert_used_count"));
  ASSIGN_OR_RETURN(const float scale, fields.Float("expert_weights_scale", 1));
  router.scale = scale == 0 ? 1.0f : scale;  // 0: none, as in llama.cpp
  ASSIGN_OR_RETURN(router.normalize, fields.Bool("expert_weights_norm", false));
  // Files from before 2025-10 have no groups; all experts are chosen from.
  ASSIGN_OR_RETURN(const int groups, fields.Int("expert_group_count", 0));
  ASSIGN_OR_RETURN(const int used, fields.Int("expert_group_used_count", 0));
  router.groups = std::max(groups, 1);
  router.top_groups = used == 0 ? router.groups : used;
  ASSIGN_OR_RETURN(const int gating, fields.Int("expert_gating_func", kUnset));
  switch (gating) {
    case kUnset:  // files of V2, older than the key
    case kSoftmax:
      return absl::OkStatus();
    case kSigmoid:
      // V3 takes a group for its best two experts, V2 for its best.
      router.scoring = kernels::RouterArgs::Scoring::kSigmoid;
      router.group_best = 2;
      return absl::OkStatus();
    default:
      return absl::UnimplementedError(absl::StrCat(
          "GGUF key '", fields.Key("expert_gating_func"), "': ", gating,
          " is not supported; 1 (softmax) and 2 ", "(sigmoid) are"));
  }
}

absl::Status ReadMoe(const GgufFields& fields, ModelConfig& c) {
  MoeConfig moe;
  ASSIGN_OR_RETURN(moe.experts, fields.Int("expert_count", 0));
  ASSIGN_OR_RETURN(moe.first_layer, fields.Int("leading_dense_block_count", 0));
  if (moe.experts == 0 || moe.first_layer >= c.num_layers) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(ReadRouter(fields, moe.router));
  ASSIGN_OR_RETURN(
      moe.intermediate_size,
      fields.Between("expert_feed_forward_length", 1, kMaxModelSize));
  int shared = 0;
  if (fields.Has("expert_shared_count")) {
    ASSIGN_OR_RETURN(shared, fields.Between("expert_shared_count", 0, 1024));
  }
  moe.shared_intermediate_size = shared * moe.intermediate_size;
  c.moe = moe;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadGgufDeepSeek2(const GgufFields& fields,
                               absl::Span<const float> rope_divisors,
                               ModelConfig& c) {
  RETURN_IF_ERROR(RefuseUnsupported(fields));
  // block_count counts those layers too; they come last.
  ASSIGN_OR_RETURN(const int predictors, fields.Int("nextn_predict_layers", 0));
  if (predictors >= c.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("GGUF key '", fields.Key("nextn_predict_layers"),
                     "': ", predictors, " of ", c.num_layers, " blocks"));
  }
  c.num_layers -= predictors;
  RETURN_IF_ERROR(ReadAttention(fields, rope_divisors, c));
  return ReadMoe(fields, c);
}

}  // namespace mla::runtime

// GGUF metadata -> ModelConfig. Keys carry the architecture's name as prefix
// (github.com/ggml-org/ggml, docs/gguf.md).
// Tested by tests/runtime/model_config_test.cc.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/gguf_deepseek.h"
#include "runtime/gguf_fields.h"
#include "runtime/model_config.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status ReadAttention(const GgufFields& fields,
                           absl::Span<const float> divisors, ModelConfig& c) {
  AttentionConfig a;
  ASSIGN_OR_RETURN(a.heads, fields.Int("attention.head_count"));
  ASSIGN_OR_RETURN(a.kv_heads, fields.Int("attention.head_count_kv", a.heads));
  if (a.heads < 1) {
    return absl::InvalidArgumentError(
        "GGUF key 'attention.head_count': must be positive");
  }
  ASSIGN_OR_RETURN(a.head_dim,
                   fields.Int("attention.key_length", c.hidden_size / a.heads));
  ASSIGN_OR_RETURN(const int rotated,
                   fields.Int("rope.dimension_count", a.head_dim));
  ASSIGN_OR_RETURN(const int value_length,
                   fields.Int("attention.value_length", a.head_dim));
  if (rotated != a.head_dim || value_length != a.head_dim) {
    return absl::UnimplementedError(absl::StrCat(
        "keys of ", a.head_dim, " elements of which ", rotated,
        " are rotated, values of ", value_length, ": not supported"));
  }
  a.qk_norm = c.architecture == "qwen3";
  // llama.cpp's converter interleaves the rotated rows of these only.
  a.rope_interleaved = c.architecture == "llama";
  ASSIGN_OR_RETURN(
      c.ropes.emplace_back(),
      ReadGgufRope(fields, a.head_dim, c.max_position, divisors, 0));
  a.scale = 1.0f / std::sqrt(static_cast<float>(a.head_dim));
  c.attention.assign(c.num_layers, a);
  return absl::OkStatus();
}

absl::Status ReadMixtral(const GgufFields& fields, ModelConfig& c) {
  ASSIGN_OR_RETURN(const int experts, fields.Int("expert_count", 0));
  if (experts == 0) return absl::OkStatus();
  MoeConfig moe;
  moe.experts = experts;
  ASSIGN_OR_RETURN(moe.router.top_k, fields.Int("expert_used_count"));
  moe.intermediate_size = c.intermediate_size;
  moe.router.normalize = true;
  c.moe = moe;
  return absl::OkStatus();
}

absl::Status ReadTokenIds(const GgufMetadata& metadata, ModelConfig& c) {
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!metadata.Has(key)) continue;
    ASSIGN_OR_RETURN(const uint32_t id, metadata.GetU32(key));
    c.eos_token_ids.push_back(static_cast<int32_t>(id));
  }
  if (metadata.Has("tokenizer.ggml.bos_token_id")) {
    ASSIGN_OR_RETURN(const uint32_t id,
                     metadata.GetU32("tokenizer.ggml.bos_token_id"));
    c.bos_token_id = static_cast<int32_t>(id);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromGguf(
    const GgufMetadata& metadata, absl::Span<const float> rope_divisors,
    bool tied) {
  ModelConfig c;
  ASSIGN_OR_RETURN(c.architecture, metadata.GetString("general.architecture"));
  const std::string& architecture = c.architecture;
  const bool deepseek = architecture == "deepseek2";
  if (!deepseek && architecture != "llama" && architecture != "qwen2" &&
      architecture != "qwen3") {
    return absl::UnimplementedError(absl::StrCat(
        "GGUF architecture '", architecture,
        "' is not supported; deepseek2, llama, qwen2 and qwen3 are"));
  }
  const GgufFields fields(metadata, architecture);
  ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens,
                   metadata.GetStringArray("tokenizer.ggml.tokens"));
  c.vocab_size = static_cast<int>(tokens.size());
  ASSIGN_OR_RETURN(c.hidden_size, fields.Int("embedding_length"));
  ASSIGN_OR_RETURN(c.num_layers,
                   fields.Between("block_count", 1, kMaxModelSize));
  ASSIGN_OR_RETURN(c.intermediate_size, fields.Int("feed_forward_length"));
  ASSIGN_OR_RETURN(c.max_position, fields.Int("context_length"));
  ASSIGN_OR_RETURN(c.norm_eps,
                   fields.Float("attention.layer_norm_rms_epsilon", 1e-5f));
  c.tied_embeddings = tied;
  if (deepseek) {
    RETURN_IF_ERROR(ReadGgufDeepSeek2(fields, rope_divisors, c));
  } else {
    RETURN_IF_ERROR(ReadAttention(fields, rope_divisors, c));
    RETURN_IF_ERROR(ReadMixtral(fields, c));
  }
  RETURN_IF_ERROR(ReadTokenIds(metadata, c));
  RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace mla::runtime

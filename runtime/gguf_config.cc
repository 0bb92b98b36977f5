// GGUF metadata -> ModelConfig. Keys carry the architecture's name as prefix
// (github.com/ggml-org/ggml, docs/gguf.md).
// Tested by tests/runtime/model_config_test.cc.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/model_config.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

class Reader {
 public:
  Reader(const GgufMetadata& metadata, std::string prefix)
      : metadata_(metadata), prefix_(std::move(prefix)) {}

  absl::StatusOr<int> Int(const char* key) const {
    ASSIGN_OR_RETURN(const uint32_t value, metadata_.GetU32(prefix_ + key));
    if (value > uint32_t{1} << 30) {
      return absl::InvalidArgumentError(absl::StrCat(
          "GGUF key '", prefix_, key, "': ", value, " is out of range"));
    }
    return static_cast<int>(value);
  }
  absl::StatusOr<int> Int(const char* key, int fallback) const {
    return metadata_.Has(prefix_ + key) ? Int(key) : fallback;
  }
  absl::StatusOr<float> Float(const char* key, float fallback) const {
    if (!metadata_.Has(prefix_ + key)) return fallback;
    return metadata_.GetF32(prefix_ + key);
  }
  absl::StatusOr<std::string> String(const char* key,
                                     const char* fallback) const {
    if (!metadata_.Has(prefix_ + key)) return std::string(fallback);
    ASSIGN_OR_RETURN(const std::string_view value,
                     metadata_.GetString(prefix_ + key));
    return std::string(value);
  }

 private:
  const GgufMetadata& metadata_;
  const std::string prefix_;
};

absl::StatusOr<Rope> ReadRope(const Reader& reader, int dim, int max_position,
                              absl::Span<const float> divisors) {
  ASSIGN_OR_RETURN(const float theta, reader.Float("rope.freq_base", 10000));
  RETURN_IF_ERROR(CheckRope(dim, theta));
  ASSIGN_OR_RETURN(const std::string type,
                   reader.String("rope.scaling.type", "none"));
  if (!divisors.empty()) {
    if (static_cast<int>(divisors.size()) != dim / 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor 'rope_freqs.weight' has ", divisors.size(),
                       " values for ", dim / 2, " frequencies"));
    }
    return DefaultRope(dim, theta, divisors);
  }
  if (type == "none") return DefaultRope(dim, theta);
  ASSIGN_OR_RETURN(const float factor, reader.Float("rope.scaling.factor", 1));
  nlohmann::json scaling = {{"rope_type", type}, {"factor", factor}};
  ASSIGN_OR_RETURN(
      const int original,
      reader.Int("rope.scaling.original_context_length", max_position));
  scaling["original_max_position_embeddings"] = original;
  return RopeFromConfig(dim, theta, max_position, scaling);
}

absl::Status ReadAttention(const Reader& reader,
                           absl::Span<const float> divisors, ModelConfig& c) {
  AttentionConfig a;
  ASSIGN_OR_RETURN(a.heads, reader.Int("attention.head_count"));
  ASSIGN_OR_RETURN(a.kv_heads, reader.Int("attention.head_count_kv", a.heads));
  if (a.heads < 1) {
    return absl::InvalidArgumentError(
        "GGUF key 'attention.head_count': must be positive");
  }
  ASSIGN_OR_RETURN(a.head_dim,
                   reader.Int("attention.key_length", c.hidden_size / a.heads));
  ASSIGN_OR_RETURN(const int rotated,
                   reader.Int("rope.dimension_count", a.head_dim));
  ASSIGN_OR_RETURN(const int value_length,
                   reader.Int("attention.value_length", a.head_dim));
  if (rotated != a.head_dim || value_length != a.head_dim) {
    return absl::UnimplementedError(absl::StrCat(
        "keys of ", a.head_dim, " elements of which ", rotated,
        " are rotated, values of ", value_length, ": not supported"));
  }
  a.qk_norm = c.architecture == "qwen3";
  // llama.cpp's converter interleaves the rotated rows of these only.
  a.rope_interleaved = c.architecture == "llama";
  ASSIGN_OR_RETURN(c.ropes.emplace_back(),
                   ReadRope(reader, a.head_dim, c.max_position, divisors));
  a.scale = 1.0f / std::sqrt(static_cast<float>(a.head_dim));
  c.attention.assign(c.num_layers, a);
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
  if (architecture != "llama" && architecture != "qwen2" &&
      architecture != "qwen3") {
    return absl::UnimplementedError(
        absl::StrCat("GGUF architecture '", architecture,
                     "' is not supported; llama, qwen2 and qwen3 are"));
  }
  const Reader reader(metadata, absl::StrCat(architecture, "."));
  ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens,
                   metadata.GetStringArray("tokenizer.ggml.tokens"));
  c.vocab_size = static_cast<int>(tokens.size());
  ASSIGN_OR_RETURN(c.hidden_size, reader.Int("embedding_length"));
  ASSIGN_OR_RETURN(c.num_layers, reader.Int("block_count"));
  ASSIGN_OR_RETURN(c.intermediate_size, reader.Int("feed_forward_length"));
  ASSIGN_OR_RETURN(c.max_position, reader.Int("context_length"));
  ASSIGN_OR_RETURN(c.norm_eps,
                   reader.Float("attention.layer_norm_rms_epsilon", 1e-5f));
  c.tied_embeddings = tied;
  RETURN_IF_ERROR(ReadAttention(reader, rope_divisors, c));
  ASSIGN_OR_RETURN(const int experts, reader.Int("expert_count", 0));
  if (experts > 0) {
    MoeConfig moe;
    moe.experts = experts;
    ASSIGN_OR_RETURN(moe.router.top_k, reader.Int("expert_used_count"));
    moe.intermediate_size = c.intermediate_size;
    moe.router.normalize = true;
    c.moe = moe;
  }
  RETURN_IF_ERROR(ReadTokenIds(metadata, c));
  RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace mla::runtime

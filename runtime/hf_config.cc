// config.json -> ModelConfig: the fields are named as in transformers.
// Tested by tests/runtime/model_config_test.cc.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/json_fields.h"
#include "runtime/model_config.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

// transformers 4 writes rope_theta and rope_scaling, 5 writes both into
// rope_parameters.
absl::StatusOr<Rope> ReadRope(const json& config, int dim, int max_position) {
  const json& scaling = config.contains("rope_parameters") &&
                                config["rope_parameters"].is_object()
                            ? config["rope_parameters"]
                        : config.contains("rope_scaling")
                            ? config["rope_scaling"]
                            : json();
  ASSIGN_OR_RETURN(double theta, ReadNumber(config, "rope_theta", 10000.0));
  ASSIGN_OR_RETURN(theta, ReadNumber(scaling, "rope_theta", theta));
  return RopeFromConfig(dim, theta, max_position, scaling);
}

absl::StatusOr<int> ReadSize(const json& config, const char* field) {
  ASSIGN_OR_RETURN(const int value, ReadInt(config, field, 0));
  if (value > 0 && value <= kMaxModelSize) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("config field '", field, "': missing or not in [1, ",
                   kMaxModelSize, "] (", value, ")"));
}

absl::Status RefuseSlidingWindow(const json& config) {
  ASSIGN_OR_RETURN(const bool used,
                   ReadBool(config, "use_sliding_window", true));
  ASSIGN_OR_RETURN(const int window, ReadInt(config, "sliding_window", 0));
  ASSIGN_OR_RETURN(const int context,
                   ReadInt(config, "max_position_embeddings", 0));
  if (!used || window == 0 || window >= context) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("config field 'sliding_window': attention within ", window,
                   " tokens of a context of ", context, " is not supported"));
}

absl::Status ReadGqa(const json& config, ModelConfig& c) {
  AttentionConfig& a = c.attention;
  a.kind = AttentionConfig::Kind::kGqa;
  ASSIGN_OR_RETURN(a.heads, ReadSize(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(a.kv_heads, ReadInt(config, "num_key_value_heads", a.heads));
  ASSIGN_OR_RETURN(a.head_dim,
                   ReadInt(config, "head_dim", c.hidden_size / a.heads));
  RETURN_IF_ERROR(RefuseSlidingWindow(config));
  a.qk_norm = c.architecture == "qwen3";
  ASSIGN_OR_RETURN(a.rope, ReadRope(config, a.head_dim, c.max_position));
  a.scale = 1.0f / std::sqrt(static_cast<float>(a.head_dim));
  return absl::OkStatus();
}

absl::Status ReadMla(const json& config, ModelConfig& c) {
  AttentionConfig& a = c.attention;
  a.kind = AttentionConfig::Kind::kMla;
  ASSIGN_OR_RETURN(a.heads, ReadSize(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(a.q_lora_rank, ReadInt(config, "q_lora_rank", 0));
  ASSIGN_OR_RETURN(a.kv_lora_rank, ReadSize(config, "kv_lora_rank"));
  ASSIGN_OR_RETURN(a.qk_nope_head_dim, ReadSize(config, "qk_nope_head_dim"));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim, ReadSize(config, "qk_rope_head_dim"));
  ASSIGN_OR_RETURN(a.v_head_dim, ReadSize(config, "v_head_dim"));
  ASSIGN_OR_RETURN(a.rope,
                   ReadRope(config, a.qk_rope_head_dim, c.max_position));
  ASSIGN_OR_RETURN(a.rope_interleaved, ReadBool(config, "rope_interleave",
                                                c.architecture != "minicpm3"));
  a.scale =
      a.rope.score_factor / std::sqrt(static_cast<float>(a.query_head_dim()));
  return absl::OkStatus();
}

absl::Status ReadMixtral(const json& config, ModelConfig& c) {
  MoeConfig moe;
  ASSIGN_OR_RETURN(moe.experts, ReadSize(config, "num_local_experts"));
  ASSIGN_OR_RETURN(moe.top_k, ReadSize(config, "num_experts_per_tok"));
  moe.intermediate_size = c.intermediate_size;
  moe.normalize = true;
  c.moe = moe;
  return absl::OkStatus();
}

// DeepSeek's; layers before first_k_dense_replace are dense.
absl::Status ReadDeepSeekMoe(const json& config, ModelConfig& c) {
  MoeConfig moe;
  ASSIGN_OR_RETURN(moe.experts, ReadInt(config, "n_routed_experts", 0));
  ASSIGN_OR_RETURN(moe.first_layer,
                   ReadInt(config, "first_k_dense_replace", 0));
  if (moe.experts == 0 || moe.first_layer >= c.num_layers) {
    return absl::OkStatus();
  }
  if (c.architecture != "deepseek_v2") {
    return absl::UnimplementedError(
        absl::StrCat(c.architecture,
                     ": mixture-of-experts layers with sigmoid scoring are "
                     "not supported"));
  }
  ASSIGN_OR_RETURN(const std::string method,
                   ReadString(config, "topk_method", "greedy"));
  ASSIGN_OR_RETURN(const int frequency, ReadInt(config, "moe_layer_freq", 1));
  if (method != "greedy" || frequency != 1) {
    return absl::UnimplementedError(
        absl::StrCat("config field 'topk_method': '", method,
                     "' with moe_layer_freq ", frequency, " is not supported"));
  }
  ASSIGN_OR_RETURN(moe.top_k, ReadSize(config, "num_experts_per_tok"));
  ASSIGN_OR_RETURN(moe.intermediate_size,
                   ReadSize(config, "moe_intermediate_size"));
  ASSIGN_OR_RETURN(const int shared, ReadInt(config, "n_shared_experts", 0));
  if (shared < 0 || shared > 1024) {
    return absl::InvalidArgumentError(absl::StrCat(
        "config field 'n_shared_experts': ", shared, " is out of range"));
  }
  moe.shared_intermediate_size = shared * moe.intermediate_size;
  ASSIGN_OR_RETURN(const double scale,
                   ReadNumber(config, "routed_scaling_factor", 1.0));
  moe.scale = static_cast<float>(scale);
  c.moe = moe;
  return absl::OkStatus();
}

absl::Status ReadMiniCpmScales(const json& config, ModelConfig& c) {
  ASSIGN_OR_RETURN(const double embedding, ReadNumber(config, "scale_emb", 1));
  ASSIGN_OR_RETURN(const double depth, ReadNumber(config, "scale_depth", 1));
  ASSIGN_OR_RETURN(const double base,
                   ReadNumber(config, "dim_model_base", c.hidden_size));
  c.embedding_scale = static_cast<float>(embedding);
  c.residual_scale = static_cast<float>(depth / std::sqrt(c.num_layers));
  c.logit_scale = static_cast<float>(base / c.hidden_size);
  return absl::OkStatus();
}

absl::Status ReadTokenIds(const json& config, ModelConfig& c) {
  ASSIGN_OR_RETURN(c.eos_token_ids, ReadInts(config, "eos_token_id"));
  ASSIGN_OR_RETURN(const int bos, ReadInt(config, "bos_token_id", -1));
  if (bos >= 0) c.bos_token_id = bos;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromHuggingFace(const json& config) {
  ModelConfig c;
  ASSIGN_OR_RETURN(c.architecture, ReadString(config, "model_type", ""));
  const std::string& type = c.architecture;
  const bool gqa = type == "llama" || type == "mistral" || type == "mixtral" ||
                   type == "qwen2" || type == "qwen3";
  const bool mla =
      type == "deepseek_v2" || type == "deepseek_v3" || type == "minicpm3";
  if (!gqa && !mla) {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'model_type': '", type,
        "' is not supported; llama, mistral, mixtral, qwen2, qwen3, "
        "deepseek_v2, deepseek_v3 and minicpm3 are"));
  }
  ASSIGN_OR_RETURN(const std::string activation,
                   ReadString(config, "hidden_act", "silu"));
  if (activation != "silu") {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'hidden_act': '", activation, "' is not supported"));
  }
  if (config.contains("quantization_config") &&
      config["quantization_config"].is_object()) {
    ASSIGN_OR_RETURN(
        const std::string method,
        ReadString(config["quantization_config"], "quant_method", "unnamed"));
    return absl::UnimplementedError(
        absl::StrCat("config field 'quantization_config': method '", method,
                     "' is not supported"));
  }
  ASSIGN_OR_RETURN(c.vocab_size, ReadSize(config, "vocab_size"));
  ASSIGN_OR_RETURN(c.hidden_size, ReadSize(config, "hidden_size"));
  ASSIGN_OR_RETURN(c.num_layers, ReadSize(config, "num_hidden_layers"));
  ASSIGN_OR_RETURN(c.intermediate_size, ReadSize(config, "intermediate_size"));
  ASSIGN_OR_RETURN(c.max_position,
                   ReadInt(config, "max_position_embeddings", 2048));
  ASSIGN_OR_RETURN(const double eps, ReadNumber(config, "rms_norm_eps", 1e-6));
  c.norm_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(c.tied_embeddings,
                   ReadBool(config, "tie_word_embeddings", false));
  RETURN_IF_ERROR(mla ? ReadMla(config, c) : ReadGqa(config, c));
  if (type == "mixtral") RETURN_IF_ERROR(ReadMixtral(config, c));
  if (mla && type != "minicpm3") RETURN_IF_ERROR(ReadDeepSeekMoe(config, c));
  if (type == "minicpm3") RETURN_IF_ERROR(ReadMiniCpmScales(config, c));
  RETURN_IF_ERROR(ReadTokenIds(config, c));
  RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace mla::runtime

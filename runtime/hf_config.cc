// config.json -> ModelConfig: the fields are named as in transformers.
// Tested by tests/runtime/model_config_test.cc.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
  ASSIGN_OR_RETURN(moe.router.top_k, ReadSize(config, "num_experts_per_tok"));
  moe.intermediate_size = c.intermediate_size;
  moe.router.normalize = true;
  c.moe = moe;
  return absl::OkStatus();
}

// Dense layers first, as every published model has it.
absl::StatusOr<int> FirstMoeLayer(const json& config, int num_layers) {
  ASSIGN_OR_RETURN(const int frequency, ReadInt(config, "moe_layer_freq", 1));
  if (frequency != 1) {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'moe_layer_freq': ", frequency, " is not supported"));
  }
  if (!config.contains("mlp_layer_types") ||
      !config["mlp_layer_types"].is_array()) {
    return ReadInt(config, "first_k_dense_replace", 0);
  }
  const json& types = config["mlp_layer_types"];
  const auto first = std::find(types.begin(), types.end(), "sparse");
  if (static_cast<int>(types.size()) != num_layers ||
      std::count(first, types.end(), "sparse") != types.end() - first) {
    return absl::UnimplementedError(
        "config field 'mlp_layer_types': must be dense layers and then sparse "
        "ones, one for each layer");
  }
  return static_cast<int>(first - types.begin());
}

// V2 and Mistral 4 score by softmax, the others by sigmoid. V2 takes a group
// for its best expert, the others for their best two.
absl::Status ReadDeepSeekRouter(const json& config, const std::string& type,
                                kernels::RouterArgs& router) {
  const bool v2 = type == "deepseek_v2";
  ASSIGN_OR_RETURN(router.top_k, ReadSize(config, "num_experts_per_tok"));
  ASSIGN_OR_RETURN(const double scale,
                   ReadNumber(config, "routed_scaling_factor", 1.0));
  router.scale = static_cast<float>(scale);
  ASSIGN_OR_RETURN(
      const std::string method,
      ReadString(config, "topk_method", v2 ? "greedy" : "noaux_tc"));
  const bool known = v2 ? method == "greedy" || method == "group_limited_greedy"
                        : method == "noaux_tc";
  if (!known) {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'topk_method': '", method, "' is not supported"));
  }
  if (!v2 || method == "group_limited_greedy") {
    ASSIGN_OR_RETURN(router.groups, ReadInt(config, "n_group", 1));
    ASSIGN_OR_RETURN(router.top_groups, ReadInt(config, "topk_group", 1));
  }
  if (v2) return absl::OkStatus();  // which ignores norm_topk_prob
  router.group_best = 2;
  if (type != "mistral4") {
    router.scoring = kernels::RouterArgs::Scoring::kSigmoid;
  }
  ASSIGN_OR_RETURN(router.normalize, ReadBool(config, "norm_topk_prob", true));
  return absl::OkStatus();
}

absl::Status ReadDeepSeekMoe(const json& config, ModelConfig& c) {
  MoeConfig moe;
  ASSIGN_OR_RETURN(moe.experts, ReadInt(config, "n_routed_experts", 0));
  ASSIGN_OR_RETURN(moe.first_layer, FirstMoeLayer(config, c.num_layers));
  if (moe.experts == 0 || moe.first_layer >= c.num_layers) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(ReadDeepSeekRouter(config, c.architecture, moe.router));
  ASSIGN_OR_RETURN(moe.intermediate_size,
                   ReadSize(config, "moe_intermediate_size"));
  ASSIGN_OR_RETURN(const int shared, ReadInt(config, "n_shared_experts", 0));
  if (shared < 0 || shared > 1024) {
    return absl::InvalidArgumentError(absl::StrCat(
        "config field 'n_shared_experts': ", shared, " is out of range"));
  }
  moe.shared_intermediate_size = shared * moe.intermediate_size;
  c.moe = moe;
  return absl::OkStatus();
}

// Two decoder layers for each of the file's; latents of one variance.
absl::Status ReadLongCat(const json& config, ModelConfig& c) {
  c.paired_layers = true;
  AttentionConfig& a = c.attention;
  const float hidden = static_cast<float>(c.hidden_size);
  ASSIGN_OR_RETURN(const bool scale_q,
                   ReadBool(config, "mla_scale_q_lora", true));
  ASSIGN_OR_RETURN(const bool scale_kv,
                   ReadBool(config, "mla_scale_kv_lora", true));
  if (scale_q && a.q_lora_rank > 0) {
    a.q_latent_scale = std::sqrt(hidden / a.q_lora_rank);
  }
  if (scale_kv) a.kv_latent_scale = std::sqrt(hidden / a.kv_lora_rank);
  ASSIGN_OR_RETURN(const std::string zero_experts,
                   ReadString(config, "zero_expert_type", "identity"));
  ASSIGN_OR_RETURN(const bool router_bias,
                   ReadBool(config, "router_bias", false));
  if (zero_experts != "identity" || router_bias) {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'zero_expert_type': '", zero_experts,
        router_bias ? "' with router_bias" : "'", " is not supported"));
  }
  MoeConfig moe;
  ASSIGN_OR_RETURN(moe.experts, ReadSize(config, "n_routed_experts"));
  ASSIGN_OR_RETURN(moe.identity_experts, ReadInt(config, "zero_expert_num", 0));
  ASSIGN_OR_RETURN(moe.intermediate_size,
                   ReadSize(config, "expert_ffn_hidden_size"));
  ASSIGN_OR_RETURN(moe.router.top_k, ReadSize(config, "moe_topk"));
  ASSIGN_OR_RETURN(const double scale,
                   ReadNumber(config, "routed_scaling_factor", 1.0));
  moe.router.scale = static_cast<float>(scale);
  c.moe = moe;
  return absl::OkStatus();
}

// Llama 4's temperature, as Mistral 4 has it.
absl::Status ReadPositionScale(const json& config, AttentionConfig& a) {
  if (!config.contains("rope_parameters")) return absl::OkStatus();
  const json& rope = config["rope_parameters"];
  ASSIGN_OR_RETURN(const double beta,
                   ReadNumber(rope, "llama_4_scaling_beta", 0));
  if (beta == 0) return absl::OkStatus();
  a.position_beta = static_cast<float>(beta);
  ASSIGN_OR_RETURN(a.position_period,
                   ReadSize(rope, "original_max_position_embeddings"));
  return absl::OkStatus();
}

absl::Status ReadIndexer(const json& config, AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.index_n_heads, ReadSize(config, "index_n_heads"));
  ASSIGN_OR_RETURN(a.index_head_dim, ReadSize(config, "index_head_dim"));
  ASSIGN_OR_RETURN(a.index_topk, ReadSize(config, "index_topk"));
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

// What only some families have.
absl::Status ReadFamily(const json& config, ModelConfig& c) {
  const std::string& type = c.architecture;
  if (type == "mixtral") return ReadMixtral(config, c);
  if (type == "minicpm3") return ReadMiniCpmScales(config, c);
  if (type == "longcat_flash") return ReadLongCat(config, c);
  if (c.attention.kind != AttentionConfig::Kind::kMla || type == "youtu") {
    return absl::OkStatus();
  }
  if (type == "mistral4") {
    RETURN_IF_ERROR(ReadPositionScale(config, c.attention));
  }
  if (type == "deepseek_v32") {
    RETURN_IF_ERROR(ReadIndexer(config, c.attention));
  }
  return ReadDeepSeekMoe(config, c);
}

// Only what WeightReader undoes as it reads.
absl::Status CheckQuantization(const json& config) {
  if (!config.contains("quantization_config") ||
      !config["quantization_config"].is_object()) {
    return absl::OkStatus();
  }
  const json& quantization = config["quantization_config"];
  ASSIGN_OR_RETURN(const std::string method,
                   ReadString(quantization, "quant_method", "unnamed"));
  ASSIGN_OR_RETURN(const std::vector<int> block,
                   ReadInts(quantization, "weight_block_size"));
  if (method == "fp8" && block == std::vector<int>{128, 128}) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat("config field 'quantization_config': method '", method,
                   "' in blocks of ", absl::StrJoin(block, " x "),
                   " is not supported; fp8 in blocks of 128 x 128 is"));
}

constexpr const char* kGqaFamilies[] = {"llama", "mistral", "mixtral", "qwen2",
                                        "qwen3"};
constexpr const char* kMlaFamilies[] = {
    "deepseek_v2", "deepseek_v3",   "deepseek_v32",  "kimi_k2",  "minicpm3",
    "axk1",        "glm4_moe_lite", "longcat_flash", "mistral4", "youtu"};

bool Contains(absl::Span<const char* const> names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelConfigFromHuggingFace(const json& config) {
  ModelConfig c;
  ASSIGN_OR_RETURN(c.architecture, ReadString(config, "model_type", ""));
  const bool mla = Contains(kMlaFamilies, c.architecture);
  if (!mla && !Contains(kGqaFamilies, c.architecture)) {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'model_type': '", c.architecture,
        "' is not supported; these are: ", absl::StrJoin(kGqaFamilies, ", "),
        ", ", absl::StrJoin(kMlaFamilies, ", ")));
  }
  ASSIGN_OR_RETURN(const std::string activation,
                   ReadString(config, "hidden_act", "silu"));
  if (activation != "silu") {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'hidden_act': '", activation, "' is not supported"));
  }
  RETURN_IF_ERROR(CheckQuantization(config));
  const bool longcat = c.architecture == "longcat_flash";
  ASSIGN_OR_RETURN(c.vocab_size, ReadSize(config, "vocab_size"));
  ASSIGN_OR_RETURN(c.hidden_size, ReadSize(config, "hidden_size"));
  ASSIGN_OR_RETURN(
      c.num_layers,
      ReadSize(config, longcat ? "num_layers" : "num_hidden_layers"));
  if (longcat) c.num_layers *= 2;
  ASSIGN_OR_RETURN(
      c.intermediate_size,
      ReadSize(config, longcat ? "ffn_hidden_size" : "intermediate_size"));
  ASSIGN_OR_RETURN(c.max_position,
                   ReadInt(config, "max_position_embeddings", 2048));
  ASSIGN_OR_RETURN(const double eps, ReadNumber(config, "rms_norm_eps", 1e-6));
  c.norm_eps = static_cast<float>(eps);
  ASSIGN_OR_RETURN(c.tied_embeddings,
                   ReadBool(config, "tie_word_embeddings", false));
  RETURN_IF_ERROR(mla ? ReadMla(config, c) : ReadGqa(config, c));
  RETURN_IF_ERROR(ReadFamily(config, c));
  RETURN_IF_ERROR(ReadTokenIds(config, c));
  RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace mla::runtime

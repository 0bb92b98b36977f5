// config.json -> ModelConfig: the fields are named as in transformers.
// Tested by tests/runtime/model_config_test.cc.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "runtime/hf_attention.h"
#include "runtime/json_fields.h"
#include "runtime/model_config.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

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

// Two decoder layers for each of the file's.
absl::Status ReadLongCat(const json& config, ModelConfig& c) {
  c.paired_layers = true;
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
absl::Status ReadFamily(const json& config, bool mla, ModelConfig& c) {
  const std::string& type = c.architecture;
  if (type == "mixtral") return ReadMixtral(config, c);
  if (type == "minicpm3") return ReadMiniCpmScales(config, c);
  if (type == "longcat_flash") return ReadLongCat(config, c);
  if (!mla || type == "youtu") return absl::OkStatus();
  // TransMLA calls its converted Mixtral so too.
  if (config.contains("num_local_experts")) return ReadMixtral(config, c);
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
  ASSIGN_OR_RETURN(const std::string type,
                   ReadString(config, "model_type", ""));
  c.architecture = std::string(absl::StripPrefix(type, kExtendedModelType));
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
  RETURN_IF_ERROR(
      CheckBetween("num_hidden_layers", c.num_layers, 1, kMaxModelLayers));
  RETURN_IF_ERROR(ReadAttention(config, mla, c));
  RETURN_IF_ERROR(ReadFamily(config, mla, c));
  RETURN_IF_ERROR(ReadTokenIds(config, c));
  RETURN_IF_ERROR(Validate(c));
  return c;
}

}  // namespace mla::runtime

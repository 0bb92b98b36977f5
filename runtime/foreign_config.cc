// Tested by tests/e2e/layouts_test.py.
#include "runtime/foreign_config.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/json.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::StatusOr<json> FromMlraAuthors(const Checkpoint& checkpoint,
                                     json config) {
  const auto find = [&](const char* name) {
    return checkpoint.Find(absl::StrCat("transformer.h.0.attn.", name));
  };
  if (find("c_proj.weight") == nullptr) return config;  // GPT-2 itself
  for (const auto& [from, to] : {std::pair("n_embd", "hidden_size"),
                                 {"n_layer", "num_hidden_layers"},
                                 {"n_head", "num_attention_heads"},
                                 {"block_size", "max_position_embeddings"}}) {
    if (config.contains(from)) config[to] = config[from];
  }
  config["model_type"] = "llama";
  config["hidden_act"] = "silu";
  config["tie_word_embeddings"] = true;
  config["rms_norm_eps"] = 1e-6;
  for (const char* scale : {"mla_scale_q_lora", "mla_scale_kv_lora"}) {
    if (!config.contains(scale)) config[scale] = true;
  }
  ASSIGN_OR_RETURN(const int heads, ReadInt(config, "n_head", 0));
  ASSIGN_OR_RETURN(const int group, ReadInt(config, "group_size", 1));
  if (group > 0) config["num_key_value_heads"] = heads / group;
  if (config.contains("qk_nope_head_dim")) {
    config["v_head_dim"] = config["qk_nope_head_dim"];
  }
  std::string type = "gqa";
  if (const TensorView* kv_b = find("kv_b_proj")) {
    ASSIGN_OR_RETURN(const int nope, ReadInt(config, "qk_nope_head_dim", 0));
    const bool all_heads =
        kv_b->shape.size() == 3 && kv_b->shape[2] == int64_t{heads} * 2 * nope;
    type = all_heads ? "mlra_4" : "mlra_2";
  } else if (find("kv_b_proj_1.weight") != nullptr) {
    type = "gla_2";
  } else if (find("kv_a_proj_with_mqa.weight") != nullptr) {
    type = "mla";
  } else if (find("W_rope_k.weight") != nullptr) {
    type = "gta";
  } else if (find("w_q.weight") != nullptr) {
    type = "mfa";
  }
  config["attention_type"] = type;
  return config;
}

absl::StatusOr<json> FromXEcoMla(const Checkpoint& checkpoint, json config,
                                 const std::string& layer_config) {
  ASSIGN_OR_RETURN(const json mla, ParseJson(layer_config));
  ASSIGN_OR_RETURN(const std::string text,
                   checkpoint.ReadText("MLA_config.json"));
  ASSIGN_OR_RETURN(const json model, ParseJson(text));
  ASSIGN_OR_RETURN(const int layers, ReadInt(config, "num_hidden_layers", 0));
  if (layers < 1 || layers > 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("config field 'num_hidden_layers': ", layers));
  }
  for (const char* field :
       {"qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"}) {
    if (mla.contains(field)) config[field] = mla[field];
  }
  ASSIGN_OR_RETURN(const bool norms,
                   ReadBool(mla, "use_lora_layer_norm", false));
  ASSIGN_OR_RETURN(const int kv_rank, ReadInt(mla, "kv_lora_rank", 512));
  ASSIGN_OR_RETURN(const int q_rank, ReadInt(mla, "q_lora_rank", 0));
  const json ranks =
      mla.contains("layer_rank_list") ? mla["layer_rank_list"] : json();
  json kv_ranks = json::array(), q_ranks = json::array();
  for (int i = 0; i < layers; ++i) {
    const std::string key = std::to_string(i);
    const json own = ranks.contains(key) ? ranks[key] : json();
    ASSIGN_OR_RETURN(const int kv, ReadInt(own, "kv_rank", kv_rank));
    ASSIGN_OR_RETURN(const int q, ReadInt(own, "q_rank", q_rank));
    kv_ranks.push_back(kv);
    q_ranks.push_back(q);
  }
  config["kv_lora_rank"] = std::move(kv_ranks);
  config["q_lora_rank"] = std::move(q_ranks);
  config["attention_type"] = "mla";
  config["qk_latent_layernorm"] = norms;
  config["rope_interleave"] = true;
  if (model.contains("attn_layers")) {
    config["gqa_layers"] = model["attn_layers"];
  }
  return config;
}

}  // namespace

absl::StatusOr<json> TranslateConfig(const Checkpoint& checkpoint,
                                     json config) {
  ASSIGN_OR_RETURN(const std::string type,
                   ReadString(config, "model_type", ""));
  if (type == "gpt2") return FromMlraAuthors(checkpoint, std::move(config));
  if (type == "llama-mtla") {
    config["model_type"] = "llama";
    config["attention_type"] = "mtla";
    return config;
  }
  const absl::StatusOr<std::string> x_eco =
      checkpoint.ReadText("mla_layer_config.json");
  if (x_eco.ok() && config.is_object())
    return FromXEcoMla(checkpoint, std::move(config), *x_eco);
  return config;
}

}  // namespace mla::runtime

// Tested by tests/runtime/folder_config_test.cc.
#include "runtime/convert/folder_config.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_config.h"
#include "runtime/json.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;

constexpr char kSourceRow[] = "source_kv_elements";  // of a token in a layer

// One value where all layers have the same.
ordered_json PerLayer(const std::vector<int>& values) {
  const bool same =
      std::equal(values.begin() + 1, values.end(), values.begin());
  return same ? ordered_json(values[0]) : ordered_json(values);
}

}  // namespace

absl::StatusOr<ordered_json> SourceConfig(const Checkpoint& checkpoint,
                                          const ModelConfig& config) {
  if (checkpoint.gguf() == nullptr) {
    ASSIGN_OR_RETURN(const std::string text,
                     checkpoint.ReadText("config.json"));
    ASSIGN_OR_RETURN(const nlohmann::json parsed, ParseJson(text));
    return ordered_json(parsed);
  }
  const AttentionConfig& a = config.attention[0];
  const std::string type = config.moe ? "mixtral" : config.architecture;
  ordered_json json = {{"model_type", type},
                       {"hidden_act", "silu"},
                       {"vocab_size", config.vocab_size},
                       {"hidden_size", config.hidden_size},
                       {"intermediate_size", config.intermediate_size},
                       {"num_hidden_layers", config.num_layers},
                       {"num_attention_heads", a.heads},
                       {"num_key_value_heads", a.kv_heads},
                       {"head_dim", a.head_dim},
                       {"max_position_embeddings", config.max_position},
                       {"rms_norm_eps", config.norm_eps},
                       {"tie_word_embeddings", config.tied_embeddings},
                       {"eos_token_id", config.eos_token_ids}};
  if (config.bos_token_id) json["bos_token_id"] = *config.bos_token_id;
  if (config.moe) {
    json["num_local_experts"] = config.moe->experts;
    json["num_experts_per_tok"] = config.moe->router.top_k;
  }
  return json;
}

ordered_json ExtendedConfig(ordered_json source,
                            const std::vector<MlaShape>& layers,
                            kernels::DType type) {
  std::vector<int> ranks, ropes, q_ranks;
  ordered_json frequencies = ordered_json::array();
  for (const MlaShape& layer : layers) {
    ranks.push_back(layer.kv_lora_rank);
    ropes.push_back(layer.qk_rope_head_dim);
    q_ranks.push_back(layer.q_lora_rank);
    frequencies.push_back(layer.inv_freq);
  }
  for (const char* field :
       {"auto_map", "architectures", "rope_scaling", "rope_parameters",
        "rope_theta", "torch_dtype", "quantization_config", "attention_bias"}) {
    source.erase(field);
  }
  const auto model_type = source["model_type"].get<std::string>();
  source["model_type"] = absl::StrCat(kExtendedModelType, model_type);
  source["dtype"] = type == kernels::DType::kF32 ? "float32" : "bfloat16";
  source["attention_type"] = "mla";
  source["q_lora_rank"] = PerLayer(q_ranks);
  if (source["q_lora_rank"] == 0) source["q_lora_rank"] = nullptr;
  source["kv_lora_rank"] = PerLayer(ranks);
  source["qk_nope_head_dim"] = layers[0].qk_nope_head_dim;
  source["qk_rope_head_dim"] = PerLayer(ropes);
  source["v_head_dim"] = layers[0].v_head_dim;
  source["qk_latent_layernorm"] = false;
  source["rope_interleave"] = false;
  source["rope_inv_freq"] = std::move(frequencies);
  return source;
}

ordered_json HeadsConfig(ordered_json source, int64_t source_row,
                         const std::vector<HeadShape>& layers) {
  const HeadShape& first = layers[0];
  std::vector<int> heads, k_ranks, v_ranks;
  std::vector<std::vector<int>> maps;
  bool even = true;
  for (const HeadShape& layer : layers) {
    heads.push_back(layer.kv_heads);
    k_ranks.push_back(layer.k_rank);
    v_ranks.push_back(layer.v_rank);
    maps.push_back(layer.kv_head_of);
    even = even && layer.kv_heads == first.kv_heads && layer.k_rank == 0 &&
           layer.kv_head_of.empty();
  }
  source[kSourceRow] = source_row;
  source["head_dim"] = first.head_dim;
  source["num_key_value_heads"] = PerLayer(heads);
  if (even) return source;
  const auto type = source["model_type"].get<std::string>();
  if (!absl::StartsWith(type, kExtendedModelType)) {
    source["model_type"] = absl::StrCat(kExtendedModelType, type);
  }
  source.erase("architectures");
  if (first.k_rank > 0) {
    source["attention_type"] = "lorc";
    source["k_rank"] = PerLayer(k_ranks);
    source["v_rank"] = PerLayer(v_ranks);
  } else {
    source["attention_type"] = "gqa";
    source["kv_head_of_query_head"] = maps;
  }
  return source;
}

absl::StatusOr<int64_t> SourceRowWidth(const nlohmann::json& config) {
  ASSIGN_OR_RETURN(const int row, ReadInt(config, kSourceRow, 0));
  if (row != 0) {
    RETURN_IF_ERROR(CheckBetween(kSourceRow, row, 1, kMaxModelSize));
    return row;
  }
  ASSIGN_OR_RETURN(const std::string type,
                   ReadString(config, "model_type", ""));
  if (!absl::StartsWith(type, kExtendedModelType)) return 0;
  ASSIGN_OR_RETURN(const int heads, ReadInt(config, "num_attention_heads", 0));
  ASSIGN_OR_RETURN(const int hidden, ReadInt(config, "hidden_size", 0));
  RETURN_IF_ERROR(CheckBetween("num_attention_heads", heads, 1, kMaxModelSize));
  ASSIGN_OR_RETURN(const int kv_heads,
                   ReadInt(config, "num_key_value_heads", heads));
  ASSIGN_OR_RETURN(const int dim, ReadInt(config, "head_dim", hidden / heads));
  RETURN_IF_ERROR(
      CheckBetween("num_key_value_heads", kv_heads, 1, kMaxModelSize));
  RETURN_IF_ERROR(CheckBetween("head_dim", dim, 1, kMaxModelSize));
  return int64_t{2} * kv_heads * dim;
}

}  // namespace mla::runtime

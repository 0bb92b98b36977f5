// Tested by tests/runtime/model_config_test.cc.
#include "runtime/hf_attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

// Reads one layer's fields.
class LayerFields {
 public:
  LayerFields(const json& config, int layer, int layers)
      : config_(config), layer_(layer), layers_(layers) {}

  const json& config() const { return config_; }
  int layer() const { return layer_; }
  bool Has(const char* field) const {
    return config_.contains(field) && !config_[field].is_null();
  }

  absl::StatusOr<int> Int(const char* field, int fallback) const {
    if (!config_.contains(field) || !config_[field].is_array()) {
      return ReadInt(config_, field, fallback);
    }
    ASSIGN_OR_RETURN(const std::vector<int> values, ReadInts(config_, field));
    if (static_cast<int>(values.size()) == layers_) return values[layer_];
    return absl::InvalidArgumentError(
        absl::StrCat("config field '", field, "': has ", values.size(),
                     " values for ", layers_, " layers"));
  }

  absl::StatusOr<int> Size(const char* field) const {
    ASSIGN_OR_RETURN(const int value, Int(field, 0));
    if (value > 0 && value <= kMaxModelSize) return value;
    return absl::InvalidArgumentError(
        absl::StrCat("config field '", field, "': missing or not in [1, ",
                     kMaxModelSize, "] (", value, ")"));
  }

 private:
  const json& config_;
  const int layer_;
  const int layers_;
};

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

// The number of this rope among the model's.
int AddRope(const Rope& rope, ModelConfig& c) {
  for (size_t i = 0; i < c.ropes.size(); ++i) {
    const Rope& other = c.ropes[i];
    if (other.dim == rope.dim && other.sets == rope.sets &&
        other.inv_freq == rope.inv_freq) {
      return static_cast<int>(i);
    }
  }
  c.ropes.push_back(rope);
  return static_cast<int>(c.ropes.size()) - 1;
}

absl::Status AddRope(const LayerFields& fields, int dim, ModelConfig& c,
                     AttentionConfig& a) {
  ASSIGN_OR_RETURN(const Rope rope,
                   ReadRope(fields.config(), dim, c.max_position));
  a.rope = AddRope(rope, c);
  return absl::OkStatus();
}

float InverseRoot(int dim) { return 1.0f / std::sqrt(static_cast<float>(dim)); }

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

// ---- one function per attention_type; `a` has heads and the scale of its kind

absl::Status ReadHeads(const LayerFields& f, ModelConfig& c,
                       AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.kv_heads, f.Int("num_key_value_heads", a.heads));
  ASSIGN_OR_RETURN(a.head_dim, f.Int("head_dim", c.hidden_size / a.heads));
  RETURN_IF_ERROR(RefuseSlidingWindow(f.config()));
  RETURN_IF_ERROR(AddRope(f, a.head_dim, c, a));
  a.scale = InverseRoot(a.head_dim);
  return absl::OkStatus();
}

absl::Status ReadGqa(const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeads(f, c, a));
  a.qk_norm = c.architecture == "qwen3";
  ASSIGN_OR_RETURN(a.kv_head_of, ReadInts(f.config(), "kv_head_of_query_head"));
  ASSIGN_OR_RETURN(a.knocking_value_dim, f.Int("knocking_value_dim", 0));
  ASSIGN_OR_RETURN(a.single_latent,
                   ReadBool(f.config(), "transmla_single_latent", false));
  return absl::OkStatus();
}

absl::Status ReadIndexer(const LayerFields& f, AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.index_n_heads, f.Size("index_n_heads"));
  ASSIGN_OR_RETURN(a.index_head_dim, f.Size("index_head_dim"));
  ASSIGN_OR_RETURN(a.index_topk, f.Size("index_topk"));
  return absl::OkStatus();
}

// Llama 4's temperature, as Mistral 4 has it.
absl::Status ReadPositionScale(const LayerFields& f, AttentionConfig& a) {
  if (!f.Has("rope_parameters")) return absl::OkStatus();
  const json& rope = f.config()["rope_parameters"];
  ASSIGN_OR_RETURN(const double beta,
                   ReadNumber(rope, "llama_4_scaling_beta", 0));
  if (beta == 0) return absl::OkStatus();
  a.position_beta = static_cast<float>(beta);
  ASSIGN_OR_RETURN(a.position_period,
                   ReadSize(rope, "original_max_position_embeddings"));
  return absl::OkStatus();
}

// LongCat's and MLRA's: latents of one variance, whatever their rank.
absl::Status ReadLatentScales(const LayerFields& f, const ModelConfig& c,
                              bool fallback, AttentionConfig& a) {
  const float hidden = static_cast<float>(c.hidden_size);
  ASSIGN_OR_RETURN(const bool scale_q,
                   ReadBool(f.config(), "mla_scale_q_lora", fallback));
  ASSIGN_OR_RETURN(const bool scale_kv,
                   ReadBool(f.config(), "mla_scale_kv_lora", fallback));
  if (scale_q && a.q_lora_rank > 0) {
    a.q_latent_scale = std::sqrt(hidden / a.q_lora_rank);
  }
  if (scale_kv && a.kv_lora_rank > 0) {
    a.kv_latent_scale = std::sqrt(hidden * a.latent_slices / a.kv_lora_rank);
  }
  return absl::OkStatus();
}

absl::Status ReadMla(const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.q_lora_rank, f.Int("q_lora_rank", 0));
  ASSIGN_OR_RETURN(a.kv_lora_rank, f.Size("kv_lora_rank"));
  ASSIGN_OR_RETURN(a.qk_nope_head_dim, f.Size("qk_nope_head_dim"));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim, f.Size("qk_rope_head_dim"));
  ASSIGN_OR_RETURN(a.v_head_dim, f.Size("v_head_dim"));
  ASSIGN_OR_RETURN(a.latent_norms,
                   ReadBool(f.config(), "qk_latent_layernorm", true));
  RETURN_IF_ERROR(AddRope(f, a.qk_rope_head_dim, c, a));
  const bool pairs = c.architecture != "minicpm3" && c.architecture != "llama";
  ASSIGN_OR_RETURN(a.rope_interleaved,
                   ReadBool(f.config(), "rope_interleave", pairs));
  a.scale = c.ropes[a.rope].score_factor *
            InverseRoot(a.qk_nope_head_dim + a.qk_rope_head_dim);
  if (c.architecture == "mistral4") {
    RETURN_IF_ERROR(ReadPositionScale(f, a));
  }
  if (c.architecture == "deepseek_v32") RETURN_IF_ERROR(ReadIndexer(f, a));
  return ReadLatentScales(f, c, c.architecture == "longcat_flash", a);
}

absl::Status ReadSlicedMla(const LayerFields& f, int slices, int branches,
                           ModelConfig& c, AttentionConfig& a) {
  RETURN_IF_ERROR(ReadMla(f, c, a));
  a.latent_slices = slices;
  a.branches = branches;
  a.branch_scale = InverseRoot(branches);
  return ReadLatentScales(f, c, true, a);
}

absl::Status ReadMtla(const LayerFields& f, ModelConfig& c,
                      AttentionConfig& a) {
  RETURN_IF_ERROR(ReadMla(f, c, a));
  ASSIGN_OR_RETURN(a.time_stride, f.Size("down_rate"));
  return absl::OkStatus();
}

absl::Status ReadEgMla(const LayerFields& f, ModelConfig& c,
                       AttentionConfig& a) {
  RETURN_IF_ERROR(ReadMla(f, c, a));
  a.gate_tokens = c.vocab_size;
  ASSIGN_OR_RETURN(a.gate_embedding_dim, f.Size("gate_embedding_dim"));
  return absl::OkStatus();
}

// Which of a head's d/2 frequencies MHA2MLA keeps turning.
absl::StatusOr<std::vector<int>> KeptFrequencies(const json& mha2mla, int d,
                                                 int rope) {
  ASSIGN_OR_RETURN(const std::string version,
                   ReadString(mha2mla, "partial_rope_version", "high"));
  std::vector<int> kept;
  if (version == "high" || version == "low") {
    const int first = version == "high" ? 0 : d / 2 - rope / 2;
    for (int i = 0; i < rope / 2; ++i) kept.push_back(first + i);
    return kept;
  }
  if (version == "uniform") {
    ASSIGN_OR_RETURN(const int start,
                     ReadInt(mha2mla, "uniform_start_point", 0));
    const int step = d / rope;
    for (int i = start; i >= 0 && i < d / 2; i += step) kept.push_back(i);
    return kept;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("config field 'mha2mla.partial_rope_version': '", version,
                   "' needs mha2mla.rope_frequencies: for every layer and KV "
                   "head, the frequencies that its qk_tensor selected"));
}

// The rope of one layer's KV heads, each with the frequencies it keeps.
absl::StatusOr<Rope> PartialRope(const LayerFields& f, const json& mha2mla,
                                 const AttentionConfig& a,
                                 const ModelConfig& c) {
  ASSIGN_OR_RETURN(const Rope whole,
                   ReadRope(f.config(), a.head_dim, c.max_position));
  Rope rope = whole;
  rope.dim = a.qk_rope_head_dim;
  rope.inv_freq.clear();
  rope.long_inv_freq.clear();
  std::vector<std::vector<int>> sets;
  const bool listed = mha2mla.contains("rope_frequencies");
  if (listed) {
    const json& layers = mha2mla["rope_frequencies"];
    const auto wrong = [&] {
      return absl::InvalidArgumentError(
          "config field 'mha2mla.rope_frequencies': must list, for every layer "
          "and KV head, rope_dim_for_mla / 2 frequencies");
    };
    if (!layers.is_array() || f.layer() >= static_cast<int>(layers.size())) {
      return wrong();
    }
    const json& heads = layers[f.layer()];
    if (!heads.is_array() || static_cast<int>(heads.size()) != a.kv_heads) {
      return wrong();
    }
    for (const json& head : heads) {
      ASSIGN_OR_RETURN(
          sets.emplace_back(),
          ReadInts(json{{"rope_frequencies", head}}, "rope_frequencies"));
    }
  } else {
    ASSIGN_OR_RETURN(sets.emplace_back(),
                     KeptFrequencies(mha2mla, a.head_dim, rope.dim));
  }
  rope.sets = static_cast<int>(sets.size());
  for (const std::vector<int>& set : sets) {
    if (static_cast<int>(set.size()) != rope.dim / 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          "config field 'mha2mla': keeps ", set.size(),
          " frequencies of a head, rope_dim_for_mla asks for ", rope.dim / 2));
    }
    for (const int i : set) {
      RETURN_IF_ERROR(CheckBetween("a frequency that MHA2MLA keeps", i, 0,
                                   a.head_dim / 2 - 1));
      rope.inv_freq.push_back(whole.inv_freq[i]);
    }
  }
  return rope;
}

absl::Status ReadMha2Mla(const LayerFields& f, ModelConfig& c,
                         AttentionConfig& a) {
  if (!f.Has("mha2mla") || !f.config()["mha2mla"].is_object()) {
    return absl::InvalidArgumentError(
        "config field 'mha2mla': missing or no object");
  }
  const json& mha2mla = f.config()["mha2mla"];
  RETURN_IF_ERROR(ReadHeads(f, c, a));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim, ReadSize(mha2mla, "rope_dim_for_mla"));
  ASSIGN_OR_RETURN(const int low_rank, ReadSize(mha2mla, "low_rank"));
  ASSIGN_OR_RETURN(const std::string svd,
                   ReadString(mha2mla, "svd_init_method", "none"));
  ASSIGN_OR_RETURN(const bool replicated,
                   ReadBool(mha2mla, "is_gqa2mha2mla", false));
  if ((svd != "joint" && svd != "split") || replicated ||
      c.architecture == "qwen3") {
    return absl::UnimplementedError(absl::StrCat(
        "config field 'mha2mla': svd_init_method '", svd,
        replicated ? "' with is_gqa2mha2mla" : "'", " of a ", c.architecture,
        " model is not supported; joint and split are, without q/k norms"));
  }
  RETURN_IF_ERROR(CheckBetween("mha2mla.low_rank", low_rank, 1, 65536));
  RETURN_IF_ERROR(CheckBetween("num_key_value_heads", a.kv_heads, 1, a.heads));
  RETURN_IF_ERROR(
      CheckBetween("rope_dim_for_mla", a.qk_rope_head_dim, 2, a.head_dim - 1));
  a.k_rank = low_rank * a.kv_heads;
  a.v_rank = svd == "split" ? a.k_rank : 0;
  ASSIGN_OR_RETURN(const Rope rope, PartialRope(f, mha2mla, a, c));
  a.rope = AddRope(rope, c);
  return absl::OkStatus();
}

absl::Status ReadGta(const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.kv_heads, f.Size("num_key_value_heads"));
  ASSIGN_OR_RETURN(a.head_dim, f.Size("head_dim"));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim,
                   f.Int("qk_rope_head_dim", a.head_dim / 2));
  RETURN_IF_ERROR(AddRope(f, a.qk_rope_head_dim, c, a));
  a.scale = InverseRoot(a.head_dim);
  return absl::OkStatus();
}

absl::Status ReadMfa(const LayerFields& f, bool reuses_keys, ModelConfig& c,
                     AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.q_lora_rank, f.Size("share_q_dim"));
  ASSIGN_OR_RETURN(a.k_rank, f.Size("head_dim"));
  a.v_rank = a.v_head_dim = a.k_rank;
  a.rotate_on_read = reuses_keys;
  RETURN_IF_ERROR(AddRope(f, a.k_rank, c, a));
  a.scale = InverseRoot(a.k_rank);
  return absl::OkStatus();
}

absl::Status ReadTucker(const LayerFields& f, ModelConfig& c,
                        AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.q_lora_rank, f.Size("q_rank"));
  ASSIGN_OR_RETURN(a.k_rank, f.Size("k_rank"));
  ASSIGN_OR_RETURN(a.v_rank, f.Size("v_rank"));
  ASSIGN_OR_RETURN(a.v_head_dim, f.Size("head_dim"));
  a.latent_norms = false;
  RETURN_IF_ERROR(AddRope(f, a.k_rank, c, a));
  a.scale = InverseRoot(a.v_head_dim);
  return absl::OkStatus();
}

absl::Status ReadLorc(const LayerFields& f, ModelConfig& c,
                      AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeads(f, c, a));
  ASSIGN_OR_RETURN(a.k_rank, f.Size("k_rank"));
  ASSIGN_OR_RETURN(a.v_rank, f.Size("v_rank"));
  return absl::OkStatus();
}

absl::Status ReadLrkv(const LayerFields& f, ModelConfig& c,
                      AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeads(f, c, a));
  a.kv_heads = a.heads;
  a.shared_dim = a.head_dim;
  ASSIGN_OR_RETURN(a.k_rank, f.Size("kv_residual_rank"));
  a.v_rank = a.k_rank;
  return absl::OkStatus();
}

struct Type {
  const char* name;
  AttentionKind kind;
  absl::Status (*read)(const LayerFields&, ModelConfig&, AttentionConfig&);
};

constexpr Type kTypes[] = {
    {"gqa", AttentionKind::kGqa, ReadGqa},
    {"mla", AttentionKind::kMla, ReadMla},
    {"gla_2", AttentionKind::kMla,
     [](const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
       return ReadSlicedMla(f, 2, 1, c, a);
     }},
    {"mlra_2", AttentionKind::kMla,
     [](const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
       return ReadSlicedMla(f, 4, 2, c, a);
     }},
    {"mlra_4", AttentionKind::kMla,
     [](const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
       return ReadSlicedMla(f, 4, 4, c, a);
     }},
    {"mtla", AttentionKind::kMla, ReadMtla},
    {"eg_mla", AttentionKind::kMla, ReadEgMla},
    {"mha2mla", AttentionKind::kMha2Mla, ReadMha2Mla},
    {"gta", AttentionKind::kGta, ReadGta},
    {"mfa", AttentionKind::kMfa,
     [](const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
       return ReadMfa(f, false, c, a);
     }},
    {"mfa_kr", AttentionKind::kMfa,
     [](const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
       return ReadMfa(f, true, c, a);
     }},
    {"tucker", AttentionKind::kMfa, ReadTucker},
    {"lorc", AttentionKind::kLowRank, ReadLorc},
    {"lrkv", AttentionKind::kLowRank, ReadLrkv},
    {"moas", AttentionKind::kMoas, ReadHeads},
};

absl::StatusOr<const Type*> FindType(const std::string& name) {
  std::string known;
  for (const Type& type : kTypes) {
    if (name == type.name) return &type;
    absl::StrAppend(&known, known.empty() ? "" : ", ", type.name);
  }
  return absl::UnimplementedError(
      absl::StrCat("config field 'attention_type': '", name,
                   "' is not supported; these are: ", known));
}

// CLA: of `factor` adjacent layers, the first one's rows are read by all.
absl::Status ReadSharing(const LayerFields& f, AttentionConfig& a) {
  ASSIGN_OR_RETURN(const int factor,
                   ReadInt(f.config(), "kv_sharing_factor", 1));
  RETURN_IF_ERROR(CheckBetween("kv_sharing_factor", factor, 1, 4096));
  const int owner = f.layer() / factor * factor;
  if (owner != f.layer()) a.cache_layer = owner;
  return absl::OkStatus();
}

// The attention_type of a layer: X-EcoMLA keeps some layers as they were.
absl::StatusOr<std::string> TypeOf(const json& config, bool mla, int layer) {
  std::string fallback = mla ? "mla" : "gqa";
  if (config.contains("mha2mla") && config["mha2mla"].is_object()) {
    fallback = "mha2mla";
  }
  ASSIGN_OR_RETURN(const std::vector<int> kept, ReadInts(config, "gqa_layers"));
  if (std::find(kept.begin(), kept.end(), layer) != kept.end()) return "gqa";
  return ReadString(config, "attention_type", fallback);
}

}  // namespace

absl::StatusOr<int> ReadSize(const json& config, const char* field) {
  return LayerFields(config, 0, 1).Size(field);
}

absl::Status ReadAttention(const json& config, bool mla, ModelConfig& c) {
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const LayerFields fields(config, layer, c.num_layers);
    ASSIGN_OR_RETURN(const std::string name, TypeOf(config, mla, layer));
    ASSIGN_OR_RETURN(const Type* type, FindType(name));
    AttentionConfig a;
    a.kind = type->kind;
    ASSIGN_OR_RETURN(a.heads, fields.Size("num_attention_heads"));
    RETURN_IF_ERROR(type->read(fields, c, a));
    RETURN_IF_ERROR(ReadSharing(fields, a));
    c.attention.push_back(std::move(a));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

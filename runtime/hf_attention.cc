// Tested by tests/runtime/model_config_test.cc.
#include "runtime/hf_attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/json_fields.h"
#include "runtime/layer_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

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

absl::Status SetRope(const LayerFields& f, int dim, ModelConfig& c,
                     AttentionConfig& a) {
  ASSIGN_OR_RETURN(const Rope rope, f.ReadRope(dim, c.max_position));
  a.rope = AddRope(rope, c);
  return absl::OkStatus();
}

absl::Status ReadHeadSizes(const LayerFields& f, ModelConfig& c,
                           AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.kv_heads, f.Int("num_key_value_heads", a.heads));
  ASSIGN_OR_RETURN(a.head_dim, f.Int("head_dim", c.hidden_size / a.heads));
  RETURN_IF_ERROR(RefuseSlidingWindow(f.config()));
  RETURN_IF_ERROR(CheckBetween("head_dim", a.head_dim, 2, 65536));
  a.scale = InverseRoot(a.head_dim);
  return absl::OkStatus();
}

absl::Status ReadHeads(const LayerFields& f, ModelConfig& c,
                       AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeadSizes(f, c, a));
  return SetRope(f, a.head_dim, c, a);
}

absl::Status ReadGqa(const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeads(f, c, a));
  a.qk_norm = c.architecture == "qwen3";
  ASSIGN_OR_RETURN(a.kv_head_of, f.Ints("kv_head_of_query_head"));
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
  RETURN_IF_ERROR(SetRope(f, a.qk_rope_head_dim, c, a));
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

absl::Status ReadMha2Mla(const LayerFields& f, ModelConfig& c,
                         AttentionConfig& a) {
  RETURN_IF_ERROR(ReadHeadSizes(f, c, a));
  return ReadMha2MlaObject(f, c, a);
}

absl::Status ReadGta(const LayerFields& f, ModelConfig& c, AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.kv_heads, f.Size("num_key_value_heads"));
  ASSIGN_OR_RETURN(a.head_dim, f.Size("head_dim"));
  ASSIGN_OR_RETURN(a.qk_rope_head_dim,
                   f.Int("qk_rope_head_dim", a.head_dim / 2));
  RETURN_IF_ERROR(SetRope(f, a.qk_rope_head_dim, c, a));
  a.scale = InverseRoot(a.head_dim);
  return absl::OkStatus();
}

absl::Status ReadMfa(const LayerFields& f, bool reuses_keys, ModelConfig& c,
                     AttentionConfig& a) {
  ASSIGN_OR_RETURN(a.q_lora_rank, f.Size("share_q_dim"));
  ASSIGN_OR_RETURN(a.k_rank, f.Size("head_dim"));
  a.v_rank = a.v_head_dim = a.k_rank;
  a.rotate_on_read = reuses_keys;
  RETURN_IF_ERROR(SetRope(f, a.k_rank, c, a));
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
  RETURN_IF_ERROR(SetRope(f, a.k_rank, c, a));
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
  a.residuals = true;
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

// Tested by tests/runtime/model_config_test.cc and tests/e2e/layouts_test.py.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/hf_attention.h"
#include "runtime/json_fields.h"
#include "runtime/layer_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

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
  ASSIGN_OR_RETURN(const Rope whole, f.ReadRope(a.head_dim, c.max_position));
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

}  // namespace

absl::Status ReadMha2MlaObject(const LayerFields& f, ModelConfig& c,
                               AttentionConfig& a) {
  if (!f.Has("mha2mla") || !f.config()["mha2mla"].is_object()) {
    return absl::InvalidArgumentError(
        "config field 'mha2mla': missing or no object");
  }
  const json& mha2mla = f.config()["mha2mla"];
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
  RETURN_IF_ERROR(CheckBetween("low_rank * num_key_value_heads",
                               int64_t{low_rank} * a.kv_heads, 1, 1 << 17));
  RETURN_IF_ERROR(
      CheckBetween("rope_dim_for_mla", a.qk_rope_head_dim, 2, a.head_dim - 1));
  a.k_rank = low_rank * a.kv_heads;
  a.v_rank = svd == "split" ? a.k_rank : 0;
  ASSIGN_OR_RETURN(const Rope rope, PartialRope(f, mha2mla, a, c));
  a.rope = AddRope(rope, c);
  return absl::OkStatus();
}

}  // namespace mla::runtime

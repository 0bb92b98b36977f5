// Tested by tests/e2e/export_test.py.
#include "runtime/attention/constant_lane.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr char kDown[] = "self_attn.kv_a_proj_with_mqa";
constexpr char kNorm[] = "self_attn.kv_a_layernorm.weight";
constexpr char kUp[] = "self_attn.kv_b_proj.weight";

// One latent, whole, which only its own layer reads and nothing else changes.
bool MayHaveLane(const AttentionConfig& a) {
  return a.kind == AttentionKind::kMla && a.latent_norms &&
         a.kv_lora_rank > 1 && a.latent_slices == 1 && a.branches == 1 &&
         a.time_stride == 1 && a.gate_embedding_dim == 0 && a.index_topk == 0 &&
         a.kv_latent_scale == 1.0f && a.cache_layer < 0;
}

std::vector<float> ReadRow(const WeightMatrix& matrix, int row) {
  std::vector<float> values(matrix.cols());
  matrix.ReadRow(row, values.data());
  return values;
}

bool AllZero(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float v) { return v == 0; });
}

// Whether keys or values see the latent's last element.
absl::StatusOr<bool> IsRead(const WeightReader& reader,
                            const std::string& prefix,
                            const AttentionConfig& a) {
  const int rank = a.kv_lora_rank;
  ASSIGN_OR_RETURN(const std::vector<float> norm,
                   reader.Vector(prefix + kNorm, rank));
  if (norm[rank - 1] == 0) return false;
  const int outputs = a.heads * (a.qk_nope_head_dim + a.v_head_dim);
  ASSIGN_OR_RETURN(const WeightMatrix up,
                   reader.Matrix(prefix + kUp, outputs, rank));
  for (int i = 0; i < outputs; ++i) {
    if (ReadRow(up, i)[rank - 1] != 0) return true;
  }
  return false;
}

absl::StatusOr<bool> HasLane(const WeightReader& reader,
                             const std::string& prefix,
                             const AttentionConfig& a, int hidden) {
  const std::string down_bias = absl::StrCat(prefix, kDown, ".bias");
  if (!MayHaveLane(a) || !reader.Has(down_bias)) return false;
  const int lane = a.kv_lora_rank - 1;
  const int rows = a.kv_lora_rank + a.qk_rope_head_dim;
  ASSIGN_OR_RETURN(const std::vector<float> bias,
                   reader.Vector(down_bias, rows));
  ASSIGN_OR_RETURN(
      const WeightMatrix down,
      reader.Matrix(absl::StrCat(prefix, kDown, ".weight"), rows, hidden));
  if (!AllZero(ReadRow(down, lane))) return false;
  ASSIGN_OR_RETURN(
      const std::vector<float> gain,
      reader.Vector(absl::StrCat(prefix, "input_layernorm.weight"), hidden));
  double weights = 0, biases = 0;  // squared norms
  for (int i = 0; i < lane; ++i) {
    const std::vector<float> row = ReadRow(down, i);
    for (int j = 0; j < hidden; ++j) {
      weights += std::pow(double{row[j]} * gain[j], 2);
    }
    biases += std::pow(double{bias[i]}, 2);
  }
  const double longest = std::sqrt(hidden * weights) + std::sqrt(biases);
  // False for a bias that is zero, and for what is not finite.
  const double length = std::abs(double{bias[lane]});
  if (!(length > 0 && length >= kLaneLength * longest)) return false;
  ASSIGN_OR_RETURN(const bool read, IsRead(reader, prefix, a));
  return !read;
}

}  // namespace

void DropConstantLanes(const WeightReader& reader, ModelConfig& config) {
  if (config.paired_layers) return;
  // A layer whose latents another one reads keeps them as they are.
  for (const AttentionConfig& a : config.attention) {
    if (a.cache_layer >= 0) return;
  }
  for (int i = 0; i < config.num_layers; ++i) {
    AttentionConfig& a = config.attention[i];
    const absl::StatusOr<bool> has = HasLane(
        reader, absl::StrCat("model.layers.", i, "."), a, config.hidden_size);
    if (!has.ok() || !*has) continue;
    --a.kv_lora_rank;
    a.constant_lane = true;
  }
}

absl::StatusOr<std::vector<float>> LaneFactors(const LayerWeights& weights,
                                               const OutputBlock& kv_a,
                                               int rank) {
  ASSIGN_OR_RETURN(const std::vector<float> norm,
                   weights.ReadVector("kv_a_layernorm.weight", rank + 1));
  const double rms = std::abs(kv_a.Bias(rank)) / std::sqrt(rank + 1.0);
  std::vector<float> factors;
  for (int i = 0; i < rank; ++i) {
    factors.push_back(static_cast<float>(norm[i] / rms));
  }
  return factors;
}

}  // namespace mla::runtime

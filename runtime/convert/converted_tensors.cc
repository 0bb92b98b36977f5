// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/converted_tensors.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mla::runtime {

ConvertedShape ShapeOf(const ConvertedWeights& weights) {
  return std::visit([](const auto& w) -> ConvertedShape { return w.shape; },
                    weights);
}

ConvertedTensors::ConvertedTensors(const ConvertedWeights& weights, int layer,
                                   kernels::DType type)
    : prefix_(absl::StrCat("model.layers.", layer, ".self_attn.")),
      type_(type) {
  std::visit([this](const auto& w) { AddAttention(w); }, weights);
}

void ConvertedTensors::AddAttention(const MlaWeights& weights) {
  const bool latent = weights.q_a.size() > 0;
  const bool stock = weights.shape.constant_lane;
  if (latent) AddProjection("q_a_proj", weights.q_a, weights.q_a_bias);
  if (latent && stock) Add("q_a_layernorm.weight", weights.q_norm, true);
  AddProjection(latent ? "q_b_proj" : "q_proj", weights.q, weights.q_bias);
  AddProjection("kv_a_proj_with_mqa", weights.kv_a, weights.kv_a_bias);
  if (stock) Add("kv_a_layernorm.weight", weights.kv_norm, true);
  AddProjection("kv_b_proj", weights.kv_b, {});
  AddProjection("o_proj", weights.o, weights.o_bias);
  // There attention_bias says that all have one.
  if (stock && weights.o_bias.isZero(0)) {
    Add("o_proj.bias", weights.o_bias, true);
  }
}

void ConvertedTensors::AddAttention(const HeadWeights& weights) {
  const bool latent = weights.shape.k_rank > 0;
  AddProjection("q_proj", weights.q, weights.q_bias);
  AddProjection(latent ? "k_a_proj" : "k_proj", weights.k, weights.k_bias);
  AddProjection(latent ? "v_a_proj" : "v_proj", weights.v, weights.v_bias);
  if (latent) {
    AddProjection("k_b_proj", weights.k_up, {});
    AddProjection("v_b_proj", weights.v_up, {});
  }
  AddProjection("o_proj", weights.o, weights.o_bias);
}

void ConvertedTensors::AddProjection(const char* name,
                                     const DoubleMatrix& weight,
                                     const DoubleVector& bias) {
  Add(absl::StrCat(name, ".weight"), weight, false);
  if (!bias.isZero(0)) Add(absl::StrCat(name, ".bias"), bias, true);
}

void ConvertedTensors::Add(const std::string& name, const DoubleMatrix& m,
                           bool vector) {
  std::vector<std::byte>& bytes =
      bytes_.emplace_back(m.size() * kernels::SizeOf(type_));
  std::byte* to = bytes.data();
  for (Eigen::Index row = 0; row < m.rows(); ++row) {
    for (Eigen::Index col = 0; col < m.cols(); ++col) {
      const auto value = static_cast<float>(m(row, col));
      if (type_ == kernels::DType::kBF16) {
        const kernels::bf16_t rounded = kernels::ToBF16(value);
        std::memcpy(to, &rounded, sizeof(rounded));
      } else {
        std::memcpy(to, &value, sizeof(value));
      }
      to += kernels::SizeOf(type_);
    }
  }
  TensorView view{type_, {m.rows(), m.cols()}, bytes};
  if (vector) view.shape = {m.rows()};
  tensors_.emplace(absl::StrCat(prefix_, name), std::move(view));
}

namespace {

AttentionConfig Converted(const MlaShape& shape, const AttentionConfig&,
                          ModelConfig& config) {
  Rope rope;
  rope.dim = shape.qk_rope_head_dim;
  rope.inv_freq.assign(shape.inv_freq.begin(), shape.inv_freq.end());
  AttentionConfig a;
  a.kind = AttentionKind::kMla;
  a.heads = shape.heads;
  a.q_lora_rank = shape.q_lora_rank;
  a.kv_lora_rank = shape.kv_lora_rank;
  a.qk_nope_head_dim = shape.qk_nope_head_dim;
  a.qk_rope_head_dim = shape.qk_rope_head_dim;
  a.v_head_dim = shape.v_head_dim;
  a.latent_norms = a.constant_lane = a.rope_interleaved = shape.constant_lane;
  a.scale =
      1.0f /
      std::sqrt(static_cast<float>(a.qk_nope_head_dim + a.qk_rope_head_dim));
  a.rope = static_cast<int>(config.ropes.size());
  config.ropes.push_back(std::move(rope));
  return a;
}

AttentionConfig Converted(const HeadShape& shape, AttentionConfig a,
                          ModelConfig&) {
  a.kind = shape.k_rank > 0 ? AttentionKind::kLowRank : AttentionKind::kGqa;
  a.kv_heads = shape.kv_heads;
  a.kv_head_of = shape.kv_head_of;
  a.k_rank = shape.k_rank;
  a.v_rank = shape.v_rank;
  a.rope_interleaved = a.single_latent = false;
  return a;
}

}  // namespace

void SetConverted(const ConvertedShape& shape, int layer, ModelConfig& config) {
  const AttentionConfig source = config.attention[layer];
  config.attention[layer] = std::visit(
      [&](const auto& s) { return Converted(s, source, config); }, shape);
}

}  // namespace mla::runtime

// Tested by tests/runtime/model_config_test.cc.
#include "runtime/model_config.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "kernels/row_format.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr int kMaxPosition = 1 << 26;

absl::Status ValidateMoe(const MoeConfig& moe) {
  RETURN_IF_ERROR(CheckBetween("number of experts", moe.experts, 1, 65536));
  RETURN_IF_ERROR(
      CheckBetween("zero_expert_num", moe.identity_experts, 0, 65536));
  const int experts = moe.experts + moe.identity_experts;
  const kernels::RouterArgs& router = moe.router;
  RETURN_IF_ERROR(CheckBetween("n_group", router.groups, 1, experts));
  RETURN_IF_ERROR(
      CheckBetween("topk_group", router.top_groups, 1, router.groups));
  if (experts % router.groups != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("n_routed_experts ", experts,
                     " is not a multiple of n_group ", router.groups));
  }
  RETURN_IF_ERROR(CheckBetween("num_experts_per_tok", router.top_k, 1,
                               experts / router.groups * router.top_groups));
  RETURN_IF_ERROR(CheckBetween("moe_intermediate_size", moe.intermediate_size,
                               1, kMaxModelSize));
  return CheckBetween("shared experts' intermediate size",
                      moe.shared_intermediate_size, 0, kMaxModelSize);
}

// A layer may read the rows of an earlier one that stores its own, laid out as
// it would itself.
absl::Status ValidateSharing(const ModelConfig& c, int layer) {
  const AttentionConfig& a = c.attention[layer];
  RETURN_IF_ERROR(CheckBetween("the layer whose cache is read", a.cache_layer,
                               0, layer - 1));
  const AttentionConfig& owner = c.attention[a.cache_layer];
  if (owner.cache_layer >= 0 || owner.kind != a.kind || a.time_stride > 1 ||
      owner.Layout().row_width != a.Layout().row_width || a.index_topk > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "layer ", layer, " cannot read the cache of layer ", a.cache_layer));
  }
  return absl::OkStatus();
}

}  // namespace

bool ModelConfig::Chooses() const {
  return moe ||
         std::any_of(attention.begin(), attention.end(),
                     [](const AttentionConfig& a) { return a.index_topk > 0; });
}

int ModelConfig::long_above() const {
  int above = std::numeric_limits<int>::max();
  for (const Rope& rope : ropes) above = std::min(above, rope.long_above);
  return above;
}

std::vector<kernels::AttnLayout> ModelConfig::Layouts() const {
  std::vector<kernels::AttnLayout> layouts;
  for (const AttentionConfig& a : attention) {
    layouts.push_back(a.Layout());
    if (a.cache_layer >= 0) layouts.back().row_width = 0;
  }
  return layouts;
}

int64_t ModelConfig::BlockBytes(kernels::DType row_dtype, int tokens) const {
  int64_t bytes = 0;
  for (const kernels::AttnLayout& layout : Layouts()) {
    bytes += int64_t{kernels::RowFormatOf(layout, row_dtype).bytes} *
             (tokens / layout.time_stride);
  }
  return bytes;
}

double ModelConfig::KvBytesPerToken(kernels::DType row_dtype) const {
  double bytes = 0;
  for (const kernels::AttnLayout& layout : Layouts()) {
    bytes +=
        static_cast<double>(kernels::RowFormatOf(layout, row_dtype).bytes) /
        layout.time_stride;
  }
  return bytes;
}

int ModelConfig::RoundBlockTokens(int tokens) const {
  int rows = 1;
  for (const AttentionConfig& a : attention) {
    rows = std::lcm(rows, a.time_stride);
  }
  return std::max(rows, tokens / rows * rows);
}

int64_t ModelConfig::Parameters() const {
  const int64_t hidden = hidden_size;
  int64_t total = hidden * vocab_size * (tied_embeddings ? 1 : 2);
  for (int layer = 0; layer < num_layers; ++layer) {
    const AttentionConfig& a = attention[layer];
    const kernels::AttnLayout layout = a.Layout();
    const int64_t q = int64_t{layout.heads} * a.query_head_dim();
    total += a.q_lora_rank > 0 ? a.q_lora_rank * (hidden + q) : hidden * q;
    if (a.cache_layer < 0) total += hidden * layout.row_width;
    total += FormOf(a.kind).up_parameters(a);
    total += hidden * layout.heads * a.output_head_dim();
    if (a.index_topk > 0) {
      total += hidden * a.index_n_heads +
               int64_t{a.q_lora_rank} * a.index_n_heads * a.index_head_dim;
    }
    if (IsMoe(layer)) {
      total += hidden * (moe->experts + moe->identity_experts) +
               3 * hidden * moe->intermediate_size * moe->experts +
               3 * hidden * moe->shared_intermediate_size;
    }
    if (IsDense(layer)) total += 3 * hidden * intermediate_size;
  }
  return total;
}

absl::Status Validate(const ModelConfig& c) {
  RETURN_IF_ERROR(CheckBetween("vocab_size", c.vocab_size, 1, kMaxModelSize));
  RETURN_IF_ERROR(CheckBetween("hidden_size", c.hidden_size, 1, kMaxModelSize));
  RETURN_IF_ERROR(
      CheckBetween("num_hidden_layers", c.num_layers, 1, kMaxModelLayers));
  RETURN_IF_ERROR(
      CheckBetween("max_position_embeddings", c.max_position, 1, kMaxPosition));
  if (!c.moe || c.moe->first_layer > 0) {
    RETURN_IF_ERROR(CheckBetween("intermediate_size", c.intermediate_size, 1,
                                 kMaxModelSize));
  }
  if (!(c.norm_eps > 0) || !(c.norm_eps < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rms_norm_eps is ", c.norm_eps, ", must be in (0, 1)"));
  }
  RETURN_IF_ERROR(CheckBetween("layers with attention",
                               static_cast<int64_t>(c.attention.size()),
                               c.num_layers, c.num_layers));
  int stride = 1;
  for (int i = 0; i < c.num_layers; ++i) {
    const AttentionConfig& a = c.attention[i];
    RETURN_IF_ERROR(ValidateAttention(a));
    stride = std::lcm(stride, a.time_stride);
    RETURN_IF_ERROR(
        CheckBetween("tokens per row, of all layers", stride, 1, 64));
    RETURN_IF_ERROR(CheckBetween("rope of a layer", a.rope, 0,
                                 static_cast<int64_t>(c.ropes.size()) - 1));
    if (a.cache_layer >= 0) RETURN_IF_ERROR(ValidateSharing(c, i));
    const bool rotates_late = a.Layout().rotate_on_read;
    if (rotates_late && !c.ropes[a.rope].long_inv_freq.empty()) {
      return absl::UnimplementedError(
          "longrope where keys are rotated when they are read");
    }
  }
  if (c.moe) RETURN_IF_ERROR(ValidateMoe(*c.moe));
  for (int32_t id : c.eos_token_ids) {
    RETURN_IF_ERROR(CheckBetween("eos_token_id", id, 0, c.vocab_size - 1));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

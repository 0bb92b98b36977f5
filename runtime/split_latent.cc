// Tested by tests/e2e/split_latent_test.py.
#include "runtime/split_latent.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/attention/attention_form.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

absl::Status SplitLayer(int slices, AttentionConfig& a) {
  const bool one_latent =
      a.kind == AttentionKind::kMla && a.latent_slices == 1 && a.branches == 1;
  const bool plain = a.time_stride == 1 && a.gate_embedding_dim == 0 &&
                     a.index_topk == 0 && !a.constant_lane && a.cache_layer < 0;
  if (!one_latent || !plain) {
    return absl::UnimplementedError(
        one_latent ? "a latent with more to it than a norm is not split"
                   : "there is no one latent for all heads to be split");
  }
  RETURN_IF_ERROR(CheckDivides("kv_lora_rank", a.kv_lora_rank, slices));
  a.latent_slices = slices;
  a.branches = slices;
  a.split_latent = true;
  return absl::OkStatus();
}

}  // namespace

absl::Status SplitLatent(int slices, ModelConfig& config) {
  if (slices == 1) return absl::OkStatus();
  std::vector<AttentionConfig> split = config.attention;
  for (size_t i = 0; i < split.size(); ++i) {
    absl::Status status = SplitLayer(slices, split[i]);
    if (status.ok()) status = ValidateAttention(split[i]);
    if (status.ok()) continue;
    return absl::Status(status.code(),
                        absl::StrCat("a latent in ", slices, " slices: layer ",
                                     i, ": ", status.message()));
  }
  config.attention = std::move(split);
  return absl::OkStatus();
}

}  // namespace mla::runtime

// Tested by tests/runtime/conversion_spec_test.cc.
#include "runtime/convert/conversion_budget.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

// About a quarter of a row turns with the position: measured on SmolLM2 at
// 12.5, 31.25 and 50 % of its cache.
constexpr double kTurningShare = 0.27;
constexpr int kTurningStep = 16;

// Of `elements` in a row; the ladder's divide the head's dims.
int RopeDim(int elements, int head_dim, bool ladder) {
  const double wanted = kTurningShare * elements;
  if (!ladder) {
    const int steps = static_cast<int>(std::lround(wanted / kTurningStep));
    return steps > 0 ? steps * kTurningStep
                     : std::max(2, static_cast<int>(wanted) / 2 * 2);
  }
  int best = 2;
  for (int dim = 2; dim <= head_dim; dim += 2) {
    if (head_dim % dim != 0) continue;
    if (std::abs(dim - wanted) < std::abs(best - wanted)) best = dim;
  }
  return best;
}

}  // namespace

absl::StatusOr<ConversionSpec> WithinBudget(ConversionSpec spec,
                                            const ModelConfig& source) {
  if (spec.ratio == 0 && spec.bytes_per_token == 0) return spec;
  const double bytes = source.KvBytesPerToken(kernels::DType::kBF16);
  const double wanted = spec.ratio > 0
                            ? spec.ratio * bytes
                            : static_cast<double>(spec.bytes_per_token);
  if (wanted > bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a budget of ", wanted, " bytes a token: the model caches ", bytes,
        " (bf16) as it is"));
  }
  const int elements = static_cast<int>(wanted / (2.0 * source.num_layers));
  if (KeepsHeads(spec.method)) {
    spec.kv_lora_rank = elements;
    spec.ratio = 0;
    spec.bytes_per_token = 0;
    return spec;
  }
  const int rope =
      RopeDim(elements, source.attention[0].head_dim, spec.freqfold > 0);
  if (elements < rope + 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a budget of ", wanted, " bytes a token leaves ", elements,
        " elements in each of ", source.num_layers, " layers: too few"));
  }
  spec.qk_rope_head_dim = rope;
  spec.kv_lora_rank = elements - rope;
  spec.ratio = 0;
  spec.bytes_per_token = 0;
  return spec;
}

}  // namespace mla::runtime

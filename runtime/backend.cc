// Tested by tests/e2e/fp8_rows_test.py and tests/runtime/model_golden_test.cc.
#include "runtime/backend.h"

#include "absl/strings/str_cat.h"

namespace mla::runtime {

using kernels::DType;

absl::Status CheckCacheRows(absl::Span<const kernels::AttnLayout> layers,
                            DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16) return absl::OkStatus();
  if (dtype != DType::kF8E4M3) {
    return absl::UnimplementedError(
        absl::StrCat("cache rows in ", kernels::Name(dtype)));
  }
  for (const kernels::AttnLayout& layout : layers) {
    if (layout.time_stride > 1) {
      return absl::UnimplementedError(absl::StrCat(
          "cache rows in fp8 where a row stands for ", layout.time_stride,
          " tokens that are added up: each sum would be rounded to three "
          "bits"));
    }
  }
  return absl::OkStatus();
}

void Apply(Backend& b, const RowSteps& steps, Rows x) {
  for (const NormStep& step : steps.norms) {
    const Pieces& at = step.at;
    const Rows part = x.Columns(at.first, x.cols - at.first);
    if (step.bias != nullptr) {
      const Rows piece = part.Columns(0, at.length);
      b.LayerNorm(piece, step.weight, step.bias, step.eps, piece);
    } else {
      b.RmsNormHeads(part, at.count, at.stride, at.length, step.weight,
                     step.eps);
    }
  }
  for (const RotateStep& step : steps.rotations) {
    const Pieces& at = step.at;
    b.Rotate(steps.rope, x.Columns(at.first, x.cols - at.first), at.count,
             at.stride);
  }
}

}  // namespace mla::runtime

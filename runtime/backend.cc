// Tested by tests/e2e/fp8_rows_test.py.
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

}  // namespace mla::runtime

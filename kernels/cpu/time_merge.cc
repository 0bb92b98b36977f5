// Tested by tests/kernels/time_merge_test.cc.
#include "kernels/cpu/time_merge.h"

#include <cstring>

namespace mla::kernels {
namespace {

float Load(DType dtype, const std::byte* row, int i) {
  return dtype == DType::kBF16
             ? FromBF16(reinterpret_cast<const bf16_t*>(row)[i])
             : reinterpret_cast<const float*>(row)[i];
}

void Store(DType dtype, std::byte* row, int i, float value) {
  if (dtype == DType::kBF16) {
    reinterpret_cast<bf16_t*>(row)[i] = ToBF16(value);
  } else {
    reinterpret_cast<float*>(row)[i] = value;
  }
}

}  // namespace

void MergeRows(const AttnLayout& layout, const CacheRows& cache,
               const SequenceSpan& span, Rows x, std::byte* newest) {
  const int summed = layout.value_length();
  for (int i = 0; i < span.num_rows; ++i) {
    const int position = span.first_position + i;
    const int row = span.first_row + i;
    std::byte* slot =
        cache.Row(span.block_table, position / layout.time_stride);
    std::byte* own = newest + row * cache.row_bytes();
    const bool first = position % layout.time_stride == 0;
    for (int c = 0; c < cache.format.width; ++c) {
      const float before =
          first || c >= summed ? 0.0f : Load(cache.format.dtype, slot, c);
      Store(cache.format.dtype, own, c, before + x[row][c]);
    }
    std::memcpy(slot, own, cache.row_bytes());
  }
}

}  // namespace mla::kernels

// Elements of cached rows to and from float; see kernels/row_format.h.
// Threads: any.
#ifndef MLA_KERNELS_CPU_ROW_CODEC_H_
#define MLA_KERNELS_CPU_ROW_CODEC_H_

#include <cstddef>

#include "kernels/cpu/inner_kernels.h"
#include "kernels/row_format.h"

namespace mla::kernels {

// dst = elements [first, first + count) of the row.
void LoadRow(const InnerKernels& inner, const RowFormat& format,
             const std::byte* row, int first, int count, float* dst);
// All elements. What is not finite is read as NaN where it became a code.
void StoreRow(const InnerKernels& inner, const RowFormat& format,
              const float* x, std::byte* row);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ROW_CODEC_H_

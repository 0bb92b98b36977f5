// Weights as e4m3 codes, in rows of RowFormatOf(columns, kF8E4M3): a scale for
// each 128 of a row.
// Threads: any.
#ifndef MLA_RUNTIME_CUDA_WEIGHT_CODES_H_
#define MLA_RUNTIME_CUDA_WEIGHT_CODES_H_

#include <cstddef>

#include "absl/types/span.h"
#include "kernels/row_format.h"

namespace mla::runtime {

// The scale with which `values` become codes. If there is one by which all of
// them are e4m3's numbers, it is that one: a checkpoint of codes, however its
// scales were chosen and its rows were put together since, keeps its values.
// Else the largest becomes 448, the largest code.
float WeightScale(absl::Span<const float> values);

// `to` has format.bytes.
void EncodeWeightRow(const kernels::RowFormat& format,
                     absl::Span<const float> values, std::byte* to);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_WEIGHT_CODES_H_

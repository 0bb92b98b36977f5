// Cached rows: where they lie, and the kernel that gathers them. It does not
// round what is bf16 already, nor float32 to float32. A warp per row: what a
// row gets depends on no other.
#ifndef MLA_KERNELS_CUDA_CACHE_ROWS_CUH_
#define MLA_KERNELS_CUDA_CACHE_ROWS_CUH_

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_elements.cuh"

namespace mla::kernels::cuda {

constexpr int kGatherThreads = 256;
constexpr int kGatherRows = kGatherThreads / 32;  // of a thread block

MLA_DEVICE int CachedBlockRows(const CacheArgs& cache) {
  return cache.block_tokens / cache.time_stride;
}

// The sequence's row with this index, 0 the oldest.
MLA_DEVICE unsigned char* CachedRow(const CacheArgs& cache,
                                    const int32_t* block_table, int index) {
  const int block_rows = CachedBlockRows(cache);
  return cache.cache + block_table[index / block_rows] * cache.block_bytes +
         index % block_rows * static_cast<int64_t>(cache.format.bytes);
}

// Returns what a load will give. REQUIRES: not fp8.
MLA_DEVICE float StoreElement(const RowFormat& format, unsigned char* row,
                              int64_t i, float value) {
  if (format.dtype == DType::kF32) {
    reinterpret_cast<float*>(row)[i] = value;
    return value;
  }
  const uint16_t rounded = FloatToBf16(value);
  reinterpret_cast<uint16_t*>(row)[i] = rounded;
  return Bf16ToFloat(rounded);
}

// One element of a piece: `from` of the cached row, or zero.
MLA_DEVICE void GatherElement(const GatherRowsArgs& args,
                              const unsigned char* row, bool is_there,
                              int64_t from, int64_t to) {
  const RowFormat& format = args.cache.format;
  if (args.y != nullptr && format.dtype == DType::kBF16) {
    args.y[to] = is_there ? reinterpret_cast<const uint16_t*>(row)[from]
                          : static_cast<uint16_t>(0);
    return;
  }
  const float value =
      is_there ? LoadElement(format, row, static_cast<int>(from)) : 0.0f;
  if (args.y != nullptr) {
    args.y[to] = FloatToBf16(value);
  } else {
    args.y_f32[to] = value;
  }
}

// A warp per row: eight elements (16 bytes) at a time where kChunks, which
// needs bf16 on both sides and everything in multiples of eight.
// Grid: a block of kGatherThreads for each kGatherRows rows.
template <bool kChunks>
__global__ void __launch_bounds__(kGatherThreads)
    GatherRowsKernel(const __grid_constant__ GatherRowsArgs args) {
  constexpr int kStep = kChunks ? 8 : 1;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kGatherRows +
                    static_cast<int>(threadIdx.x) / 32;
  if (i >= args.count) return;
  const unsigned char* row =
      CachedRow(args.cache, args.block_table, args.first + static_cast<int>(i));
  const int steps = args.padded / kStep;  // of a piece
  for (int s = static_cast<int>(threadIdx.x) % 32; s < args.pieces * steps;
       s += 32) {
    const int64_t piece = s / steps;
    const int at = s % steps * kStep;
    const bool is_there = at < args.slice.length;
    const int64_t from =
        args.slice.offset + piece * args.slice.group_stride + at;
    const int64_t to = i * args.y_row_stride + piece * args.y_piece_stride + at;
    if constexpr (kChunks) {
      *reinterpret_cast<uint4*>(args.y + to) =
          is_there ? *reinterpret_cast<const uint4*>(
                         Bf16Element(args.cache.format, row, from))
                   : make_uint4(0, 0, 0, 0);
    } else {
      GatherElement(args, row, is_there, from, to);
    }
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_CACHE_ROWS_CUH_

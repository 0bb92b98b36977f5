// Rows that stand for several tokens (MTLA, 2505.13544): the latents of a chunk
// of `time_stride` tokens add up, the rope key is that of the newest. What it
// computes: kernels/cpu/time_merge.h.
//
// A thread per column and chunk adds the chunk's tokens in their order, rounded
// to the cache's type after each, as if each were a step of its own. No two
// chunks share anything, so the grid does not matter.
#ifndef MLA_KERNELS_CUDA_TIME_MERGE_CUH_
#define MLA_KERNELS_CUDA_TIME_MERGE_CUH_

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kMergeThreads = 128;

// Column c of the span's tokens at positions [from, to), all of one chunk.
MLA_DEVICE void MergeColumn(const MergeRowsArgs& args,
                            const AttentionSpan& span, int from, int to,
                            int c) {
  const CacheArgs& cache = args.cache;
  const int stride = cache.time_stride;
  unsigned char* slot =
      CachedRow(cache, args.block_tables + span.block_table, from / stride);
  const RowFormat& format = cache.format;
  const bool is_sum = c < args.summed;
  float value =
      is_sum && from % stride != 0 ? LoadElement(format, slot, c) : 0.0f;
  for (int position = from; position < to; ++position) {
    const int64_t row = span.first_row + (position - span.first_position);
    const float x = args.x.data[row * static_cast<int64_t>(args.x.stride) + c];
    value = StoreElement(format, args.newest + row * format.bytes, c,
                         (is_sum ? value : 0.0f) + x);
  }
  StoreElement(format, slot, c, value);
}

// Grid: [spans, ceil(row width / kMergeThreads), any] blocks of kMergeThreads.
__global__ void __launch_bounds__(kMergeThreads)
    MergeRowsKernel(const __grid_constant__ MergeRowsArgs args) {
  const AttentionSpan span = args.spans[blockIdx.x];
  const int stride = args.cache.time_stride;
  const int c = static_cast<int>(blockIdx.y * kMergeThreads) +
                static_cast<int>(threadIdx.x);
  if (c >= args.cache.format.width || span.num_rows <= 0) return;
  const int end = span.first_position + span.num_rows;
  const int skip = static_cast<int>(gridDim.z) * stride;
  int begin = span.first_position / stride * stride +
              static_cast<int>(blockIdx.z) * stride;  // of the chunk
  for (; begin < end; begin += skip) {
    const int from = begin < span.first_position ? span.first_position : begin;
    MergeColumn(args, span, from, begin + stride < end ? begin + stride : end,
                c);
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_TIME_MERGE_CUH_

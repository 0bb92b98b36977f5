// Tested by tests/cuda/cache_kernels_test.cc and select_kernel_test.cc.
#include <algorithm>

#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/index_scores.cuh"
#include "kernels/cuda/launch/cache.h"
#include "kernels/cuda/launch/launch_kernel.h"
#include "kernels/cuda/select.cuh"
#include "kernels/cuda/time_merge.cuh"
#include "kernels/cuda/write_rows.cuh"

namespace mla::kernels::cuda {
namespace {

constexpr int kChunk = 8;  // elements that are loaded at once

// Enough thread blocks to keep any device busy: no result depends on it.
constexpr int64_t kBusyBlocks = 1024;

// What a thread block may have without asking.
constexpr int kSharedBytesOfAny = 48 << 10;

int WriteBytes(int width) { return kRowSumBytes + width * 4; }

unsigned Pieces(int64_t whole, int64_t piece) {
  return static_cast<unsigned>((whole + piece - 1) / piece);
}

bool AlignedTo16(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

// Whether every row's slice is bf16 and lies in chunks, at 16 bytes.
bool InChunks(const CacheArgs& cache, const Slice& slice) {
  const RowFormat& f = cache.format;
  return f.dtype != DType::kF32 && slice.offset >= f.quantised &&
         AlignedTo16(cache.cache) && cache.block_bytes % 16 == 0 &&
         f.bytes % 16 == 0 && (slice.offset - f.quantised) % kChunk == 0 &&
         slice.length % kChunk == 0;
}

bool InChunks(const GatherRowsArgs& args) {
  const bool one = args.pieces == 1;
  return args.y != nullptr && AlignedTo16(args.y) &&
         InChunks(args.cache, args.slice) && args.padded % kChunk == 0 &&
         args.y_row_stride % kChunk == 0 &&
         (one || (args.slice.group_stride % kChunk == 0 &&
                  args.y_piece_stride % kChunk == 0));
}

}  // namespace

bool CanPrepareRows(int width) {
  return WriteBytes(width) <= kSharedBytesOfAny;
}

cudaError_t LaunchWriteRows(const WriteRowsArgs& args, cudaStream_t stream) {
  if (args.x.rows == 0) return cudaSuccess;
  const int width = args.cache.format.width;
  const bool prepares = args.num_norms > 0 || args.num_turns > 0;
  if (prepares && !CanPrepareRows(width)) return cudaErrorInvalidValue;
  return LaunchKernel(WriteRowsKernel, dim3(args.x.rows), kWriteThreads,
                      prepares ? WriteBytes(width) : 0, args, stream);
}

cudaError_t LaunchMergeRows(const MergeRowsArgs& args, cudaStream_t stream) {
  if (args.num_spans == 0) return cudaSuccess;
  // As many at once as a span has chunks on average.
  const int chunks = args.x.rows / args.num_spans / args.cache.time_stride;
  const dim3 grid(args.num_spans,
                  Pieces(args.cache.format.width, kMergeThreads),
                  std::clamp(chunks, 1, 64));
  return LaunchKernel(MergeRowsKernel, grid, kMergeThreads, 0, args, stream);
}

cudaError_t LaunchGatherRows(const GatherRowsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  if (args.padded < args.slice.length) return cudaErrorInvalidValue;
  return LaunchKernel(
      InChunks(args) ? GatherRowsKernel<true> : GatherRowsKernel<false>,
      dim3(Pieces(args.count, kGatherRows)), kGatherThreads, 0, args, stream);
}

cudaError_t LaunchSelect(const SelectArgs& args, cudaStream_t stream) {
  const int rows = args.queries.rows;
  if (rows == 0 || args.top_k == 0) return cudaSuccess;
  if (args.max_tokens > args.top_k) {  // some may have to choose
    const unsigned tiles = Pieces(args.max_tokens, kScoreThreads);
    const dim3 grid(rows, std::min(tiles, Pieces(kBusyBlocks, rows)));
    const cudaError_t error =
        LaunchKernel(InChunks(args.cache, args.index) ? ScoreKernel<true>
                                                      : ScoreKernel<false>,
                     grid, kScoreThreads, kScoreSharedBytes, args, stream);
    if (error != cudaSuccess) return error;
  }
  return LaunchKernel(SelectKernel, dim3(rows), kSelectThreads,
                      kSelectSharedBytes, args, stream);
}

}  // namespace mla::kernels::cuda

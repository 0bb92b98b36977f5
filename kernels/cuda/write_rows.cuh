// Puts a step's rows into the cache: normed, rotated, rounded to the row's
// format, to nearest even, a NaN to a NaN.
//
// A thread block per row, which stands in shared memory meanwhile: what a row
// becomes depends on no other. Norms and rotations give the bits of NormKernel
// and RotateKernel, one after the other: threads that have nothing to add to a
// sum add zeros behind.
#ifndef MLA_KERNELS_CUDA_WRITE_ROWS_CUH_
#define MLA_KERNELS_CUDA_WRITE_ROWS_CUH_

#include <cmath>

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_sums.cuh"

namespace mla::kernels::cuda {

constexpr int kWriteThreads = kRowThreads;

MLA_DEVICE bool HasSteps(const WriteRowsArgs& args) {
  return args.num_norms > 0 || args.num_turns > 0;
}

// One piece, in place. Ends without a barrier.
MLA_DEVICE void NormPiece(const RowNorm& norm, float* x, float* sums) {
  const int first = static_cast<int>(threadIdx.x);
  const float count = static_cast<float>(norm.length);
  float mean = 0.0f;
  if (norm.bias != nullptr) {
    for (int i = first; i < norm.length; i += kWriteThreads) mean += x[i];
    mean = BlockSum(mean, sums) / count;
  }
  float squares = 0.0f;
  for (int i = first; i < norm.length; i += kWriteThreads) {
    squares += (x[i] - mean) * (x[i] - mean);
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, sums) / count + norm.eps);
  for (int i = first; i < norm.length; i += kWriteThreads) {
    const float bias = norm.bias != nullptr ? norm.bias[i] : 0.0f;
    x[i] = (x[i] - mean) * scale * norm.w[i] + bias;
  }
}

// A step's heads, a pair of elements per thread.
MLA_DEVICE void TurnHeads(const WriteRowsArgs& args, const RowTurn& turn,
                          float* row) {
  const int half = args.dim / 2;
  int pair = static_cast<int>(threadIdx.x);
  for (; pair < turn.count * half; pair += kWriteThreads) {
    const int head = pair / half, i = pair % half;
    const unsigned set = static_cast<unsigned>(head) *
                         static_cast<unsigned>(args.sets) /
                         static_cast<unsigned>(turn.count);
    const int64_t at =
        (static_cast<int64_t>(blockIdx.x) * args.sets + set) * half + i;
    float* x = row + turn.first + head * turn.stride + i;
    const float a = x[0], b = x[half];
    x[0] = a * args.cos[at] - b * args.sin[at];
    x[half] = b * args.cos[at] + a * args.sin[at];
  }
}

// The row as it is to be stored, in shared memory.
MLA_DEVICE const float* PrepareRow(const WriteRowsArgs& args, const float* x,
                                   unsigned char* shared) {
  float* sums = reinterpret_cast<float*>(shared);
  float* row = reinterpret_cast<float*>(shared + kRowSumBytes);
  for (int c = static_cast<int>(threadIdx.x); c < args.cache.format.width;
       c += kWriteThreads) {
    row[c] = x[c];
  }
  SyncBlock();  // the row is there
  for (int n = 0; n < args.num_norms; ++n) {
    const RowNorm& norm = args.norms[n];
    for (int p = 0; p < norm.count; ++p) {
      NormPiece(norm, row + norm.first + p * norm.stride, sums);
    }
    SyncBlock();  // and normed
  }
  for (int t = 0; t < args.num_turns; ++t) {
    TurnHeads(args, args.turns[t], row);
    SyncBlock();  // and rotated
  }
  return row;
}

// The codes of an fp8 row and their scales, a warp for each scale.
MLA_DEVICE void StoreCodes(const RowFormat& format, const float* x,
                           unsigned char* row) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int first = static_cast<int>(threadIdx.x) / 32 * kRowScaleElements;
  for (; first < format.quantised;
       first += kWriteThreads / 32 * kRowScaleElements) {
    const int end = first + kRowScaleElements < format.quantised
                        ? first + kRowScaleElements
                        : format.quantised;
    float most = 0.0f;
    for (int i = first + lane; i < end; i += 32) {
      const float magnitude = x[i] < 0.0f ? -x[i] : x[i];
      if (magnitude > most) most = magnitude;  // which a NaN is not
    }
    const float scale = RowScale(WarpMax(most));
    // Of a power of two.
    const float inverse = FloatFromBits((254u << 23) - BitsOfFloat(scale));
    for (int i = first + lane; i < end; i += 32) {
      row[i] = ToF8E4M3(x[i] * inverse);
    }
    if (lane == 0) {
      reinterpret_cast<float*>(
          row + format.scales_at)[first / kRowScaleElements] = scale;
    }
  }
}

// Grid: a block of kWriteThreads for each row of x. Shared memory, where
// there are steps: kRowSumBytes and the row.
__global__ void __launch_bounds__(kWriteThreads)
    WriteRowsKernel(const __grid_constant__ WriteRowsArgs args) {
  MLA_SHARED_MEMORY(shared);
  const CacheArgs& cache = args.cache;
  const RowFormat& format = cache.format;
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int block = args.blocks[row];
  if (block < 0) return;
  unsigned char* to = cache.cache + block * cache.block_bytes +
                      args.positions[row] % cache.block_tokens *
                          static_cast<int64_t>(format.bytes);
  const float* x = RowOf(args.x, row);
  if (HasSteps(args)) x = PrepareRow(args, x, shared);
  StoreCodes(format, x, to);
  for (int c = format.quantised + static_cast<int>(threadIdx.x);
       c < format.width; c += kWriteThreads) {
    StoreElement(format, to + format.rest_at, c - format.quantised, x[c]);
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_WRITE_ROWS_CUH_

// What the row-wise kernels share: where rows lie, and sums over a thread
// block whose order is a matter of its size alone.
#ifndef MLA_KERNELS_CUDA_ROW_SUMS_CUH_
#define MLA_KERNELS_CUDA_ROW_SUMS_CUH_

#include <cstdint>

#include "kernels/cuda/primitives.h"
#include "kernels/views.h"

namespace mla::kernels::cuda {

constexpr int kRowThreads = 256;  // at most
constexpr int kRowSumBytes = kRowThreads / 32 * 4;

MLA_DEVICE float* RowOf(const Rows& x, int64_t row) {
  return x.data + row * static_cast<int64_t>(x.stride);
}
// Of a grid of [rows, columns]: this thread's.
MLA_DEVICE int ThreadRow() { return static_cast<int>(blockIdx.x); }
MLA_DEVICE int ThreadColumn() {
  return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
}

// The sum of all threads' values, in every thread. `shared`: kRowSumBytes.
MLA_DEVICE float BlockSum(float v, float* shared) {
  v = WarpSum(v);
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (warps == 1) return v;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  SyncBlock();  // all warps' sums
  float sum = 0.0f;
  for (int w = 0; w < warps; ++w) sum += shared[w];
  SyncBlock();  // all have read them
  return sum;
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ROW_SUMS_CUH_

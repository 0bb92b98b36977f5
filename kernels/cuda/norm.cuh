// RMSNorm (1910.07467) and LayerNorm (1607.06450) of each row's pieces: see
// NormArgs. A thread block per row and piece.
#ifndef MLA_KERNELS_CUDA_NORM_CUH_
#define MLA_KERNELS_CUDA_NORM_CUH_

#include <cmath>

#include "kernels/cuda/row_args.h"
#include "kernels/cuda/row_sums.cuh"

namespace mla::kernels::cuda {

// Grid: [rows, pieces].
__global__ void __launch_bounds__(kRowThreads)
    NormKernel(const __grid_constant__ NormArgs args) {
  MLA_SHARED_MEMORY(shared);
  float* sums = reinterpret_cast<float*>(shared);
  const int64_t piece = static_cast<int64_t>(blockIdx.y) * args.stride;
  const float* x = RowOf(args.x, ThreadRow()) + piece;
  float* y = RowOf(args.y, ThreadRow()) + piece;
  const int first = static_cast<int>(threadIdx.x);
  const int step = static_cast<int>(blockDim.x);
  const float count = static_cast<float>(args.length);

  float mean = 0.0f;
  if (args.bias != nullptr) {
    for (int i = first; i < args.length; i += step) mean += x[i];
    mean = BlockSum(mean, sums) / count;
  }
  float squares = 0.0f;
  for (int i = first; i < args.length; i += step) {
    squares += (x[i] - mean) * (x[i] - mean);
  }
  const float scale = 1.0f / sqrtf(BlockSum(squares, sums) / count + args.eps);
  for (int i = first; i < args.length; i += step) {
    const float bias = args.bias != nullptr ? args.bias[i] : 0.0f;
    y[i] = (x[i] - mean) * scale * args.w[i] + bias;
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_NORM_CUH_

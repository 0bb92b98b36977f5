// Moves rows to their experts and back. What it computes: kernels/cuda/
// moe_args.h.
//
// SpreadKernel, a thread per two columns of a row, for all of its pairs.
// ExpertActivateKernel, a thread per two columns of a sorted row.
// ExpertSumKernel, a thread per column of a row: its pairs in their order.
//
// Sorted rows that no pair has, those of identities, are activated like all
// others: whatever stands there, nobody reads it.
#ifndef MLA_KERNELS_CUDA_MOE_ROWS_CUH_
#define MLA_KERNELS_CUDA_MOE_ROWS_CUH_

#include <cmath>

#include "kernels/cuda/moe_args.h"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kMoeRowThreads = 128;

// The thread's first column, where each has so many.
MLA_DEVICE int64_t MoeColumn(int columns) {
  return (static_cast<int64_t>(blockIdx.y) * kMoeRowThreads +
          static_cast<int>(threadIdx.x)) *
         columns;
}

// Grid: [x.rows, columns of the stride / (2 kMoeRowThreads)].
__global__ void __launch_bounds__(kMoeRowThreads)
    SpreadKernel(const __grid_constant__ SpreadArgs args) {
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int64_t c = MoeColumn(2);
  if (c >= args.stride) return;
  const float* x = args.x.data + row * static_cast<int64_t>(args.x.stride);
  const uint32_t value = PackBf16(c < args.x.cols ? x[c] : 0.0f,
                                  c + 1 < args.x.cols ? x[c + 1] : 0.0f);
  for (int i = 0; i < args.top_k; ++i) {
    const int64_t to = args.position[row * args.top_k + i];
    if (to < 0) continue;
    *reinterpret_cast<uint32_t*>(args.sorted + to * args.stride + c) = value;
  }
}

// x * sigmoid(x)
MLA_DEVICE float ExpertSilu(float x) { return x / (1.0f + ::expf(-x)); }

// Grid: [x.rows, columns of the stride / (2 kMoeRowThreads)].
__global__ void __launch_bounds__(kMoeRowThreads)
    ExpertActivateKernel(const __grid_constant__ ExpertActivateArgs args) {
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int64_t c = MoeColumn(2);
  if (c >= args.stride) return;
  const int half = args.x.cols / 2;
  const float* gate = args.x.data + row * static_cast<int64_t>(args.x.stride);
  const float* up = gate + half;
  const float y0 = c < half ? ExpertSilu(gate[c]) * up[c] : 0.0f;
  const float y1 = c + 1 < half ? ExpertSilu(gate[c + 1]) * up[c + 1] : 0.0f;
  *reinterpret_cast<uint32_t*>(args.sorted + row * args.stride + c) =
      PackBf16(y0, y1);
}

// Grid: [y.rows, y.cols / kMoeRowThreads].
__global__ void __launch_bounds__(kMoeRowThreads)
    ExpertSumKernel(const __grid_constant__ ExpertSumArgs args) {
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int64_t c = MoeColumn(1);
  if (c >= args.y.cols) return;
  float sum = 0.0f;
  for (int i = 0; i < args.top_k; ++i) {
    const int64_t pair = row * args.top_k + i;
    const int64_t from = args.position[pair];
    if (from < 0 && args.x.data == nullptr) continue;
    const float* result =
        from < 0 ? args.x.data + row * static_cast<int64_t>(args.x.stride)
                 : args.results + from * args.y.cols;
    sum += args.weights[pair] * result[c];
  }
  args.y.data[row * static_cast<int64_t>(args.y.stride) + c] = sum;
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_MOE_ROWS_CUH_

// Gates that single attention systems have, and what positions do to queries:
// see kernels/cpu/gating.h.
#ifndef MLA_KERNELS_CUDA_GATING_CUH_
#define MLA_KERNELS_CUDA_GATING_CUH_

#include <cmath>

#include "kernels/cuda/elementwise.cuh"

namespace mla::kernels::cuda {

struct DotGateArgs {
  Rows a, b, x;
};

// x *= sigmoid(a . b). Grid: [rows].
__global__ void __launch_bounds__(kRowThreads)
    ScaleBySigmoidDotKernel(const __grid_constant__ DotGateArgs args) {
  MLA_SHARED_MEMORY(shared);
  const float* a = RowOf(args.a, ThreadRow());
  const float* b = RowOf(args.b, ThreadRow());
  float* x = RowOf(args.x, ThreadRow());
  const int first = static_cast<int>(threadIdx.x);
  const int step = static_cast<int>(blockDim.x);
  float dot = 0.0f;
  for (int i = first; i < args.a.cols; i += step) dot += a[i] * b[i];
  const float gate = Sigmoid(BlockSum(dot, reinterpret_cast<float*>(shared)));
  for (int i = first; i < args.x.cols; i += step) x[i] *= gate;
}

// Multiplies the p-th of y's equal parts by softmax(x)[p], p < x.cols, which is
// small. Grid: [rows, columns / threads].
__global__ void __launch_bounds__(kRowThreads)
    ScalePartsKernel(const __grid_constant__ TwoRowsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  const float* logits = RowOf(args.x, ThreadRow());
  float most = logits[0];
  for (int p = 1; p < args.x.cols; ++p) most = Max(most, logits[p]);
  float sum = 0.0f;
  for (int p = 0; p < args.x.cols; ++p) sum += expf(logits[p] - most);
  const int part = i / (args.y.cols / args.x.cols);
  RowOf(args.y, ThreadRow())[i] *= expf(logits[part] - most) / sum;
}

struct PositionArgs {
  Rows x;
  const int32_t* positions = nullptr;  // below 0: a row that pads, as 0
  int32_t period = 1;
  float beta = 0.0f;

  MLA_DEVICE int Turns(int row) const {
    return positions[row] < 0 ? 0 : positions[row] / period;
  }
};

__global__ void __launch_bounds__(kRowThreads)
    ScaleByPositionKernel(const __grid_constant__ PositionArgs args) {
  const int i = ThreadColumn();
  if (i >= args.x.cols) return;
  const float turns = static_cast<float>(args.Turns(ThreadRow()));
  RowOf(args.x, ThreadRow())[i] *= 1.0f + args.beta * logf(1.0f + turns);
}

// In double: an angle is as large as a position.
__global__ void __launch_bounds__(kRowThreads)
    SinusoidsKernel(const __grid_constant__ PositionArgs args) {
  const int i = ThreadColumn();
  if (i >= args.x.cols) return;
  const double angle =
      args.Turns(ThreadRow()) * pow(10000.0, -(i / 2 * 2.0) / args.x.cols);
  RowOf(args.x, ThreadRow())[i] =
      static_cast<float>(i % 2 == 0 ? sin(angle) : cos(angle));
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_GATING_CUH_

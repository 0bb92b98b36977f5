// Ops on each element of rows by itself: a thread per element, or pair of them.
// Grid: [rows, columns / threads].
#ifndef MLA_KERNELS_CUDA_ELEMENTWISE_CUH_
#define MLA_KERNELS_CUDA_ELEMENTWISE_CUH_

#include <cmath>

#include "kernels/cuda/row_args.h"
#include "kernels/cuda/row_sums.cuh"

namespace mla::kernels::cuda {

__global__ void __launch_bounds__(kRowThreads)
    EmbedKernel(const __grid_constant__ EmbedArgs args) {
  const int row = ThreadRow(), i = ThreadColumn();
  if (i >= args.y.cols) return;
  const int32_t token = args.tokens[row];
  float value = 0.0f;
  if (token >= 0 && token < args.vocabulary) {
    const int64_t at = token * args.stride + i;
    value = args.table_is_f32
                ? static_cast<const float*>(args.table)[at]
                : Bf16ToFloat(static_cast<const uint16_t*>(args.table)[at]);
  }
  RowOf(args.y, row)[i] = args.scale * value;
}

// Two neighbours of a piece by each thread.
__global__ void __launch_bounds__(kRowThreads)
    CastKernel(const __grid_constant__ CastArgs args) {
  const int pairs = (args.padded + 1) / 2;
  const int piece = ThreadColumn() / pairs;
  const int i = ThreadColumn() % pairs * 2;
  if (piece >= args.pieces) return;
  const float* x =
      RowOf(args.x, ThreadRow()) + static_cast<int64_t>(piece) * args.stride;
  uint16_t* y = args.y + ThreadRow() * args.y_row_stride +
                static_cast<int64_t>(piece) * args.y_piece_stride + i;
  const float first = i < args.length ? x[i] : 0.0f;
  const float second = i + 1 < args.length ? x[i + 1] : 0.0f;
  const uint32_t both = PackBf16(first, second);
  if (i + 1 < args.padded && reinterpret_cast<uintptr_t>(y) % 4 == 0) {
    *reinterpret_cast<uint32_t*>(y) = both;
    return;
  }
  y[0] = static_cast<uint16_t>(both);
  if (i + 1 < args.padded) y[1] = static_cast<uint16_t>(both >> 16);
}

// Rotary position embedding (2104.09864): a thread per pair of elements.
__global__ void __launch_bounds__(kRowThreads)
    RotateKernel(const __grid_constant__ RotateArgs args) {
  const int half = args.dim / 2;
  const int head = ThreadColumn() / half, i = ThreadColumn() % half;
  if (head >= args.heads) return;
  const int64_t at = (static_cast<int64_t>(ThreadRow()) * args.sets +
                      static_cast<int64_t>(head) * args.sets / args.heads) *
                         half +
                     i;
  float* x = RowOf(args.x, ThreadRow()) +
             static_cast<int64_t>(head) * args.head_stride + i;
  const float a = x[0], b = x[half];
  x[0] = a * args.cos[at] - b * args.sin[at];
  x[half] = b * args.cos[at] + a * args.sin[at];
}

struct TwoRowsArgs {
  Rows x, y;
  float scale = 1.0f;
};

MLA_DEVICE float Sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// y = silu(gate) * up, where x = [gate | up].
__global__ void __launch_bounds__(kRowThreads)
    SiluMulKernel(const __grid_constant__ TwoRowsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  const float* x = RowOf(args.x, ThreadRow());
  RowOf(args.y, ThreadRow())[i] =
      x[i] / (1.0f + expf(-x[i])) * x[args.y.cols + i];
}

// y = sigmoid(gate) * up, where x = [gate | up].
__global__ void __launch_bounds__(kRowThreads)
    SigmoidMulKernel(const __grid_constant__ TwoRowsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  const float* x = RowOf(args.x, ThreadRow());
  RowOf(args.y, ThreadRow())[i] = Sigmoid(x[i]) * x[args.y.cols + i];
}

__global__ void __launch_bounds__(kRowThreads)
    AddScaledKernel(const __grid_constant__ TwoRowsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  RowOf(args.y, ThreadRow())[i] += args.scale * RowOf(args.x, ThreadRow())[i];
}

__global__ void __launch_bounds__(kRowThreads)
    MulKernel(const __grid_constant__ TwoRowsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  RowOf(args.y, ThreadRow())[i] *= RowOf(args.x, ThreadRow())[i];
}

struct GatherArgs {
  Rows x, y;
  const int32_t* rows = nullptr;
};

// y[r] = x[rows[r]]
__global__ void __launch_bounds__(kRowThreads)
    GatherKernel(const __grid_constant__ GatherArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  RowOf(args.y, ThreadRow())[i] = RowOf(args.x, args.rows[ThreadRow()])[i];
}

struct SumPartsArgs {
  const float* parts = nullptr;  // [count, rows, y.stride]
  int32_t count = 1;
  int64_t part_stride = 0;  // elements
  Rows y;
};

// y = the sum of the parts, in their order
__global__ void __launch_bounds__(kRowThreads)
    SumPartsKernel(const __grid_constant__ SumPartsArgs args) {
  const int i = ThreadColumn();
  if (i >= args.y.cols) return;
  const int64_t at = ThreadRow() * static_cast<int64_t>(args.y.stride) + i;
  float sum = args.parts[at];
  for (int p = 1; p < args.count; ++p) {
    sum += args.parts[p * args.part_stride + at];
  }
  args.y.data[at] = sum;
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ELEMENTWISE_CUH_

// Tested by tests/cuda/row_kernels_test.cc.
#include "kernels/cuda/elementwise.cuh"
#include "kernels/cuda/gating.cuh"
#include "kernels/cuda/launch/launch_kernel.h"
#include "kernels/cuda/launch/rows.h"
#include "kernels/cuda/norm.cuh"

namespace mla::kernels::cuda {
namespace {

// Whole warps, as many as there is work for: by columns alone, since sums'
// order hangs on it.
unsigned ThreadsFor(int64_t columns) {
  const int64_t warps = (columns + 31) / 32;
  return static_cast<unsigned>(warps < kRowThreads / 32 ? warps * 32
                                                        : kRowThreads);
}

// A thread for each of `columns` of every row.
template <class Args>
cudaError_t OnColumns(void (*kernel)(Args), int rows, int64_t columns,
                      const Args& args, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return cudaSuccess;
  const unsigned threads = ThreadsFor(columns);
  const auto blocks = static_cast<unsigned>((columns + threads - 1) / threads);
  return LaunchKernel(kernel, dim3(static_cast<unsigned>(rows), blocks),
                      threads, 0, args, stream);
}

}  // namespace

cudaError_t LaunchEmbed(const EmbedArgs& args, cudaStream_t stream) {
  return OnColumns(EmbedKernel, args.y.rows, args.y.cols, args, stream);
}

cudaError_t LaunchNorm(const NormArgs& args, cudaStream_t stream) {
  if (args.x.rows == 0 || args.pieces == 0) return cudaSuccess;
  return LaunchKernel(NormKernel,
                      dim3(static_cast<unsigned>(args.x.rows),
                           static_cast<unsigned>(args.pieces)),
                      ThreadsFor(args.length), kRowSumBytes, args, stream);
}

cudaError_t LaunchRotate(const RotateArgs& args, cudaStream_t stream) {
  return OnColumns(RotateKernel, args.x.rows,
                   static_cast<int64_t>(args.heads) * (args.dim / 2), args,
                   stream);
}

cudaError_t LaunchCast(const CastArgs& args, cudaStream_t stream) {
  return OnColumns(CastKernel, args.x.rows,
                   static_cast<int64_t>(args.pieces) * ((args.padded + 1) / 2),
                   args, stream);
}

cudaError_t LaunchSiluMul(Rows x, Rows y, cudaStream_t stream) {
  return OnColumns(SiluMulKernel, y.rows, y.cols, TwoRowsArgs{x, y}, stream);
}

cudaError_t LaunchSigmoidMul(Rows x, Rows y, cudaStream_t stream) {
  return OnColumns(SigmoidMulKernel, y.rows, y.cols, TwoRowsArgs{x, y}, stream);
}

cudaError_t LaunchAddScaled(Rows x, float scale, Rows y, cudaStream_t stream) {
  return OnColumns(AddScaledKernel, y.rows, y.cols, TwoRowsArgs{x, y, scale},
                   stream);
}

cudaError_t LaunchMul(Rows x, Rows y, cudaStream_t stream) {
  return OnColumns(MulKernel, y.rows, y.cols, TwoRowsArgs{x, y}, stream);
}

cudaError_t LaunchGather(Rows x, const int32_t* rows, Rows y,
                         cudaStream_t stream) {
  return OnColumns(GatherKernel, y.rows, y.cols, GatherArgs{x, y, rows},
                   stream);
}

cudaError_t LaunchSumParts(const float* parts, int count, int64_t part_stride,
                           Rows y, cudaStream_t stream) {
  return OnColumns(SumPartsKernel, y.rows, y.cols,
                   SumPartsArgs{parts, count, part_stride, y}, stream);
}

cudaError_t LaunchScaleBySigmoidDot(Rows a, Rows b, Rows x,
                                    cudaStream_t stream) {
  if (x.rows == 0) return cudaSuccess;
  return LaunchKernel(ScaleBySigmoidDotKernel,
                      dim3(static_cast<unsigned>(x.rows)), ThreadsFor(a.cols),
                      kRowSumBytes, DotGateArgs{a, b, x}, stream);
}

cudaError_t LaunchScaleParts(Rows logits, Rows x, cudaStream_t stream) {
  return OnColumns(ScalePartsKernel, x.rows, x.cols, TwoRowsArgs{logits, x},
                   stream);
}

cudaError_t LaunchScaleByPosition(const int32_t* positions, float beta,
                                  int period, Rows x, cudaStream_t stream) {
  return OnColumns(ScaleByPositionKernel, x.rows, x.cols,
                   PositionArgs{x, positions, period, beta}, stream);
}

cudaError_t LaunchSinusoids(const int32_t* positions, int period, Rows y,
                            cudaStream_t stream) {
  return OnColumns(SinusoidsKernel, y.rows, y.cols,
                   PositionArgs{y, positions, period, 0.0f}, stream);
}

}  // namespace mla::kernels::cuda

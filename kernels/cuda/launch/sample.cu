// Tested by tests/cuda/sample_kernel_test.cc.
#include "kernels/cuda/launch/launch_kernel.h"
#include "kernels/cuda/launch/sample.h"
#include "kernels/cuda/sample.cuh"

namespace mla::kernels::cuda {

cudaError_t LaunchSample(const SampleArgs& args, cudaStream_t stream) {
  if (args.logits.rows == 0) return cudaSuccess;
  if (args.logits.cols < 1 || args.logits.cols > kMostSampled) {
    return cudaErrorInvalidValue;
  }
  const cudaError_t error = cudaFuncSetAttribute(
      SampleKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
      kSampleSharedBytes);
  if (error != cudaSuccess) return error;
  return LaunchKernel(SampleKernel,
                      dim3(static_cast<unsigned>(args.logits.rows)),
                      kSelectThreads, kSampleSharedBytes, args, stream);
}

cudaError_t LaunchTakeTokens(const TakeTokensArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  const int64_t blocks = (args.rows + kRowThreads - 1) / kRowThreads;
  return LaunchKernel(TakeTokensKernel, dim3(static_cast<unsigned>(blocks)),
                      kRowThreads, 0, args, stream);
}

}  // namespace mla::kernels::cuda

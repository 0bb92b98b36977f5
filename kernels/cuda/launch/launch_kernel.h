// LaunchKernel: a kernel that takes one struct.
// Threads: any. Errors: what the launch returned.
#ifndef MLA_KERNELS_CUDA_LAUNCH_LAUNCH_KERNEL_H_
#define MLA_KERNELS_CUDA_LAUNCH_LAUNCH_KERNEL_H_

#include <cuda_runtime.h>

namespace mla::kernels::cuda {

template <class Args>
cudaError_t LaunchKernel(void (*kernel)(Args), dim3 grid, int threads,
                         int shared_bytes, const Args& args,
                         cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_LAUNCH_KERNEL_H_

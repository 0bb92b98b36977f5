// Launches the sampling kernels: see kernels/cuda/sample_args.h.
// Threads: any, one stream's launches from one at a time.
// Errors:  what the launch returned; cudaErrorInvalidValue for 2^20 tokens or
//          more. No rows: nothing is launched.
#ifndef MLA_KERNELS_CUDA_LAUNCH_SAMPLE_H_
#define MLA_KERNELS_CUDA_LAUNCH_SAMPLE_H_

#include <cuda_runtime.h>

#include "kernels/cuda/sample_args.h"

namespace mla::kernels::cuda {

cudaError_t LaunchSample(const SampleArgs& args, cudaStream_t stream);
cudaError_t LaunchTakeTokens(const TakeTokensArgs& args, cudaStream_t stream);

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_SAMPLE_H_

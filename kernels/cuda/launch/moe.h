// Launches the kernels of a mixture of experts. A row's result depends on that
// row alone and has the same bits whatever rows it is computed with.
// Threads: any, one stream's launches from one at a time.
// Errors:  what the launch returned. No rows: nothing is launched.
#ifndef MLA_KERNELS_CUDA_LAUNCH_MOE_H_
#define MLA_KERNELS_CUDA_LAUNCH_MOE_H_

#include <cuda_runtime.h>

#include "kernels/cuda/moe_args.h"

namespace mla::kernels::cuda {

// Sorted rows of a tile of LaunchExpertGemm, for so many pairs: tiles of 64
// read the weights once for four of 16. A row's bits are the same in both.
inline int ExpertTileRows(int32_t pairs, int32_t experts) {
  return pairs / 32 >= experts ? 64 : 16;
}

cudaError_t LaunchRoute(const RouteArgs& args, cudaStream_t stream);
cudaError_t LaunchSort(const SortArgs& args, cudaStream_t stream);
cudaError_t LaunchSpread(const SpreadArgs& args, cudaStream_t stream);
cudaError_t LaunchExpertGemm(const ExpertGemmArgs& args, cudaStream_t stream);
cudaError_t LaunchExpertActivate(const ExpertActivateArgs& args,
                                 cudaStream_t stream);
cudaError_t LaunchExpertSum(const ExpertSumArgs& args, cudaStream_t stream);

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_MOE_H_

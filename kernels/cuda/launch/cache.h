// Launches the kernels that write, merge, gather and select cached rows.
// Threads: any, one stream's launches from one at a time.
// Errors:  what the launch returned. No rows: nothing is launched.
#ifndef MLA_KERNELS_CUDA_LAUNCH_CACHE_H_
#define MLA_KERNELS_CUDA_LAUNCH_CACHE_H_

#include <cuda_runtime.h>

#include "kernels/cuda/cache_args.h"

namespace mla::kernels::cuda {

// Whether rows of so many elements can be normed and rotated on the way.
bool CanPrepareRows(int width);
cudaError_t LaunchWriteRows(const WriteRowsArgs& args, cudaStream_t stream);
cudaError_t LaunchMergeRows(const MergeRowsArgs& args, cudaStream_t stream);
cudaError_t LaunchGatherRows(const GatherRowsArgs& args, cudaStream_t stream);
cudaError_t LaunchSelect(const SelectArgs& args, cudaStream_t stream);

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_CACHE_H_

// One of every kind of kernel, compiled for GPUs: static_figures.py looks at
// what came of it.
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_hopper.cuh"

namespace mla::kernels::cuda {

using Latent16 = AttentionShape<576, 512, 16, true, RowLoad::kAsync>;
using Latent64 = AttentionShape<576, 512, 64, true, RowLoad::kAsync>;
using Gathered16 = AttentionShape<576, 512, 16, true, RowLoad::kGather>;
using Codes16 = AttentionShape<576, 512, 16, true, RowLoad::kCodes>;
using Codes64 = AttentionShape<576, 512, 64, true, RowLoad::kCodes>;
using Heads64 = AttentionShape<192, 128, 64, false, RowLoad::kAsync>;
using Groups16 = AttentionShape<128, 128, 16, false, RowLoad::kAsync>;

// As static_figures.py has them.
template <class Shape>
constexpr bool Takes(int shared_bytes, int threads) {
  return Shape::kSharedBytes == shared_bytes && Shape::kThreads == threads;
}
static_assert(Takes<Latent16>(93760, 128) && Takes<Gathered16>(93760, 128) &&
                  Takes<Codes16>(93760, 128) && Takes<Codes64>(152832, 256) &&
                  Takes<Latent64>(152832, 256) && Takes<Heads64>(70912, 256) &&
                  Takes<Groups16>(38464, 128),
              "shared memory or threads changed");
using HopperLatent = HopperShape<576, 512>;
static_assert(HopperLatent::kSharedBytes == 230688 &&
                  HopperLatent::kThreads == 384 &&
                  HopperLatent::kConsumerRegisters == 232,
              "shared memory, threads or registers changed");

template __global__ void AttentionKernel<Latent16>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Latent64>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Gathered16>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Codes16>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Codes64>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Heads64>(
    const __grid_constant__ AttentionArgs);
template __global__ void AttentionKernel<Groups16>(
    const __grid_constant__ AttentionArgs);
template __global__ void HopperAttentionKernel<HopperLatent>(
    const __grid_constant__ HopperAttentionArgs);
template __global__ void CombineKernel<Latent16>(
    const __grid_constant__ CombineArgs);

}  // namespace mla::kernels::cuda

// Tested by tests/cuda/moe_kernels_test.cc and expert_gemm_test.cc.
#include "kernels/cuda/expert_gemm.cuh"
#include "kernels/cuda/launch/launch_kernel.h"
#include "kernels/cuda/launch/moe.h"
#include "kernels/cuda/moe_route.cuh"
#include "kernels/cuda/moe_rows.cuh"
#include "kernels/cuda/moe_sort.cuh"

namespace mla::kernels::cuda {
namespace {

// Blocks for each of `rows`, and along so many columns of it.
dim3 RowGrid(int rows, int64_t columns, int per_block) {
  return dim3(static_cast<unsigned>(rows),
              static_cast<unsigned>((columns + per_block - 1) / per_block));
}

template <class Shape>
cudaError_t LaunchGemm(const ExpertGemmArgs& args, cudaStream_t stream) {
  const int tiles = args.only != nullptr
                        ? (args.rows + Shape::kRows - 1) / Shape::kRows
                        : args.num_tiles;
  if (tiles == 0) return cudaSuccess;
  return LaunchKernel(ExpertGemmKernel<Shape>,
                      RowGrid(tiles, args.n, Shape::kOutputs), Shape::kThreads,
                      Shape::kSharedBytes, args, stream);
}

}  // namespace

cudaError_t LaunchRoute(const RouteArgs& args, cudaStream_t stream) {
  if (args.logits.rows == 0) return cudaSuccess;
  const RouterArgs& router = args.router;
  if (router.groups < 1 || args.logits.cols % router.groups != 0 ||
      router.top_groups > router.groups || router.top_k > args.logits.cols) {
    return cudaErrorInvalidValue;
  }
  return LaunchKernel(RouteKernel,
                      dim3(static_cast<unsigned>(args.logits.rows)),
                      kRouteThreads, RouteSharedBytes(args), args, stream);
}

cudaError_t LaunchSort(const SortArgs& args, cudaStream_t stream) {
  if (args.pairs == 0 && args.max_tiles == 0) return cudaSuccess;
  const int warps = SortWarps(args.pairs, args.num_experts);
  if (warps == 0) return cudaErrorInvalidValue;
  return LaunchKernel(SortPairsKernel, dim3(1), warps * 32,
                      SortSharedInts(warps, args.num_experts) * 4, args,
                      stream);
}

cudaError_t LaunchSpread(const SpreadArgs& args, cudaStream_t stream) {
  if (args.x.rows == 0) return cudaSuccess;
  return LaunchKernel(SpreadKernel,
                      RowGrid(args.x.rows, args.stride, 2 * kMoeRowThreads),
                      kMoeRowThreads, 0, args, stream);
}

cudaError_t LaunchExpertGemm(const ExpertGemmArgs& args, cudaStream_t stream) {
  const bool codes = args.codes != nullptr || args.only != nullptr;
  switch (args.tile_rows) {
    case 16:
      return codes ? LaunchGemm<ExpertGemmShape<16, true>>(args, stream)
                   : LaunchGemm<ExpertGemmShape<16, false>>(args, stream);
    case 64:
      return codes ? LaunchGemm<ExpertGemmShape<64, true>>(args, stream)
                   : LaunchGemm<ExpertGemmShape<64, false>>(args, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t LaunchExpertActivate(const ExpertActivateArgs& args,
                                 cudaStream_t stream) {
  if (args.x.rows == 0) return cudaSuccess;
  return LaunchKernel(ExpertActivateKernel,
                      RowGrid(args.x.rows, args.stride, 2 * kMoeRowThreads),
                      kMoeRowThreads, 0, args, stream);
}

cudaError_t LaunchExpertSum(const ExpertSumArgs& args, cudaStream_t stream) {
  if (args.y.rows == 0) return cudaSuccess;
  return LaunchKernel(ExpertSumKernel,
                      RowGrid(args.y.rows, args.y.cols, kMoeRowThreads),
                      kMoeRowThreads, 0, args, stream);
}

}  // namespace mla::kernels::cuda

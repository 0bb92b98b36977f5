// Selects the tokens that a query attends to (DeepSeek-V3.2, 2512.02556,
// section 2.1). What it computes: SelectArgs in kernels/cuda/cache_args.h.
//
// A block per query: radix select of the top_k-th largest score, which
// kernels/cuda/index_scores.cuh computes; then the positions of those above it
// and of the first that equal it, in their order.
#ifndef MLA_KERNELS_CUDA_SELECT_CUH_
#define MLA_KERNELS_CUDA_SELECT_CUH_

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/index_scores.cuh"
#include "kernels/cuda/radix_select.cuh"

namespace mla::kernels::cuda {

// Shared memory: sums; of each warp, how many of its scores are above, and how
// many equal.
constexpr int kSelectSharedBytes = (kHistogramSize + 2 * kSelectWarps) * 4;

// Grid: a block of kSelectThreads for each row, kSelectSharedBytes.
__global__ void __launch_bounds__(kSelectThreads)
    SelectKernel(const __grid_constant__ SelectArgs args) {
  MLA_SHARED_MEMORY(shared);
  auto* histogram = reinterpret_cast<int*>(shared);
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int tokens = VisibleTokens(args, row);
  int32_t* selected = args.selected + row * args.top_k;
  if (tokens <= args.top_k) {
    for (int t = static_cast<int>(threadIdx.x); t < tokens;
         t += kSelectThreads) {
      selected[t] = t;
    }
    return;
  }
  const float* scores = args.scores + row * args.max_tokens;
  const auto rank = [&](int t) { return RankOf(scores[t]); };
  int equal = args.top_k;
  const uint32_t threshold = FindThreshold(
      tokens, rank, [](int) { return 1; }, histogram, &equal);
  StoreSelected(tokens, rank, threshold, equal, histogram + kHistogramSize,
                selected);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_SELECT_CUH_

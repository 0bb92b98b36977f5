// Selects the tokens that a query attends to (DeepSeek-V3.2, 2512.02556,
// section 2.1). What it computes: SelectArgs in kernels/cuda/cache_args.h.
//
// A block per query: radix select (eight bits at a time) of the top_k-th
// largest score, which kernels/cuda/index_scores.cuh computes; then the
// positions of those above it and of the first that equal it, in their order.
//
// Scores compare as numbers: -0 equals 0; a NaN is below all of them.
#ifndef MLA_KERNELS_CUDA_SELECT_CUH_
#define MLA_KERNELS_CUDA_SELECT_CUH_

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/index_scores.cuh"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kDigits = 256;
// Shared memory: a count of each digit for each lane, [kDigits, 32], so that
// the lanes of a warp count in banks of their own; their sums, [kDigits]; of
// each warp, how many of its scores are above and how many equal.
constexpr int kSelectSharedBytes = (kDigits * 33 + 2 * kSelectWarps) * 4;
static_assert(kSelectWarps == 32, "a warp's lanes add up what all warps have");

MLA_DEVICE int WarpSumOfInts(int v) {
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) v += ShuffleXor(v, i);
  return v;
}

// Greater for greater numbers, the same for equal ones; 0: NaN.
MLA_DEVICE uint32_t RankOf(float score) {
  if (score != score) return 0;
  if (score == 0.0f) return 0x80000000u;
  const uint32_t bits = BitsOf(score);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// The digit of the `rest`-th largest, given how often each digit occurs; `rest`
// becomes what it is among those. By a warp; every lane gets the same.
MLA_DEVICE int FindDigit(const int* counts, int* rest) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int top = kDigits - 1 - lane * 8;  // of the lane's eight digits
  int own = 0;
  MLA_UNROLL
  for (int i = 0; i < 8; ++i) own += counts[top - i];
  int through = own;  // of this lane's digits and larger ones
  MLA_UNROLL
  for (int i = 1; i < 32; i *= 2) {
    const int before = Shuffle(through, lane - i);
    if (lane >= i) through += before;
  }
  const int finder = BitsSet(Ballot(through < *rest));

  int left = *rest - (through - own), digit = top;
  for (int i = 0; i < 7 && left > counts[digit]; ++i) {
    left -= counts[digit];
    --digit;
  }
  *rest = Shuffle(left, finder);
  return Shuffle(digit, finder);
}

// The rank of the count-th largest score; `count` becomes the number of equal
// ones among the `count` largest. By all threads, which get the same.
MLA_DEVICE uint32_t FindThreshold(const float* scores, int tokens,
                                  int* histogram, int* count) {
  int* totals = histogram + kDigits * 32;
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32;
  uint32_t threshold = 0, known = 0;  // bits
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = tid; i < kDigits * 32; i += kSelectThreads) histogram[i] = 0;
    SyncBlock();
    for (int t = tid; t < tokens; t += kSelectThreads) {
      const uint32_t rank = RankOf(scores[t]);
      if (((rank ^ threshold) & known) != 0) continue;
      const auto digit = static_cast<int>(rank >> shift & (kDigits - 1));
      AtomicAdd(histogram + digit * 32 + lane, 1);
    }
    SyncBlock();
    if (tid < kDigits) {
      int total = 0;  // each thread begins in another bank
      for (int i = 0; i < 32; ++i) {
        total += histogram[tid * 32 + (tid + i) % 32];
      }
      totals[tid] = total;
    }
    SyncBlock();
    const auto digit = static_cast<uint32_t>(FindDigit(totals, count));
    threshold |= digit << shift;
    known |= 0xffu << shift;
  }
  return threshold;
}

// Stores the positions of ranks above the threshold and of the first `equal`
// that are at it, in their order; each warp has consecutive scores.
MLA_DEVICE void StoreSelected(const float* scores, int tokens,
                              uint32_t threshold, int equal, int* counts,
                              int32_t* selected) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int per_warp = (tokens / kSelectThreads + 1) * 32;
  const int64_t begin = static_cast<int64_t>(warp) * per_warp;
  const int64_t end = begin + per_warp < tokens ? begin + per_warp : tokens;
  int own_above = 0, own_equal = 0;
  for (int64_t t = begin + lane; t < end; t += 32) {
    const uint32_t rank = RankOf(scores[t]);
    own_above += rank > threshold ? 1 : 0;
    own_equal += rank == threshold ? 1 : 0;
  }
  own_above = WarpSumOfInts(own_above);
  own_equal = WarpSumOfInts(own_equal);
  if (lane == 0) {
    counts[warp] = own_above;
    counts[kSelectWarps + warp] = own_equal;
  }
  SyncBlock();
  const int above = WarpSumOfInts(lane < warp ? counts[lane] : 0);
  int at = WarpSumOfInts(lane < warp ? counts[kSelectWarps + lane] : 0);
  int stored = above + (at < equal ? at : equal);
  const uint32_t lanes_before = (1u << lane) - 1;
  for (int64_t first = begin; first < end; first += 32) {
    const int64_t t = first + lane;
    const uint32_t rank = t < end ? RankOf(scores[t]) : 0;
    const bool is_equal = t < end && rank == threshold;
    const uint32_t equals = Ballot(is_equal);
    const bool is_chosen =
        (t < end && rank > threshold) ||
        (is_equal && at + BitsSet(equals & lanes_before) < equal);
    const uint32_t chosen = Ballot(is_chosen);
    if (is_chosen) {
      selected[stored + BitsSet(chosen & lanes_before)] =
          static_cast<int32_t>(t);
    }
    at += BitsSet(equals);
    stored += BitsSet(chosen);
  }
}

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
  int equal = args.top_k;
  const uint32_t threshold = FindThreshold(scores, tokens, histogram, &equal);
  StoreSelected(scores, tokens, threshold, equal, histogram + kDigits * 33,
                selected);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_SELECT_CUH_

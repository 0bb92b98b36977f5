// Radix select by a thread block: the threshold down to which the largest of
// many floats weigh a given sum, eight bits at a time, and those that are kept.
//
// Numbers compare as numbers: -0 equals 0; a NaN is below all of them.
#ifndef MLA_KERNELS_CUDA_RADIX_SELECT_CUH_
#define MLA_KERNELS_CUDA_RADIX_SELECT_CUH_

#include <cstdint>

#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kDigits = 256;
// In shared memory: a sum for each digit and lane, [kDigits, 32], so that the
// lanes of a warp add in banks of their own; and over the lanes, [kDigits].
constexpr int kHistogramSize = kDigits * 33;
static_assert(kSelectWarps == 32, "a warp's lanes add up what all warps have");

MLA_DEVICE uint64_t ShuffleXor(uint64_t v, int mask) {
  const int low = ShuffleXor(static_cast<int>(v), mask);
  const int high = ShuffleXor(static_cast<int>(v >> 32), mask);
  return static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
         static_cast<uint32_t>(low);
}
MLA_DEVICE uint64_t Shuffle(uint64_t v, int lane) {
  const int low = Shuffle(static_cast<int>(v), lane);
  const int high = Shuffle(static_cast<int>(v >> 32), lane);
  return static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
         static_cast<uint32_t>(low);
}

// Of int or uint64_t.
template <class T>
MLA_DEVICE T WarpTotal(T v) {
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) v += ShuffleXor(v, i);
  return v;
}
// Of this lane's and those before it.
template <class T>
MLA_DEVICE T WarpTotalThrough(T v) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  MLA_UNROLL
  for (int i = 1; i < 32; i *= 2) {
    const T before = Shuffle(v, lane - i);
    if (lane >= i) v += before;
  }
  return v;
}

// Greater for greater numbers, the same for equal ones; 0: NaN.
MLA_DEVICE uint32_t RankOf(float x) {
  if (x != x) return 0;
  if (x == 0.0f) return 0x80000000u;
  const uint32_t bits = BitsOf(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// The largest digit such that the sums of it and those above reach `rest`,
// which becomes what is left of it for that digit. By a warp; every lane gets
// the same.
template <class T>
MLA_DEVICE int FindDigit(const T* sums, T* rest) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int top = kDigits - 1 - lane * 8;  // of the lane's eight digits
  T own = 0;
  MLA_UNROLL
  for (int i = 0; i < 8; ++i) own += sums[top - i];
  const T through = WarpTotalThrough(own);
  const int finder = BitsSet(Ballot(through < *rest));

  // Where this lane's digits are not it, it looks at rubbish.
  T left = *rest - (through - own);
  int digit = top;
  for (int i = 0; i < 7 && left > sums[digit]; ++i) {
    left -= sums[digit];
    --digit;
  }
  *rest = Shuffle(left, finder);
  return Shuffle(digit, finder);
}

// The largest rank such that the weights of it and those above reach `rest`,
// which becomes what is left of it for that rank. `rank(i)` and `weight(i)` of
// i in [0, count). By all threads, which get the same.
template <class T, class Rank, class Weight>
MLA_DEVICE uint32_t FindThreshold(int count, Rank rank, Weight weight,
                                  T* histogram, T* rest) {
  T* totals = histogram + kDigits * 32;
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32;
  uint32_t threshold = 0, known = 0;  // bits
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = tid; i < kDigits * 32; i += kSelectThreads) histogram[i] = 0;
    SyncBlock();
    for (int i = tid; i < count; i += kSelectThreads) {
      const uint32_t r = rank(i);
      if (((r ^ threshold) & known) != 0) continue;
      const auto digit = static_cast<int>(r >> shift & (kDigits - 1));
      AtomicAdd(histogram + digit * 32 + lane, weight(i));
    }
    SyncBlock();
    if (tid < kDigits) {
      T total = 0;  // each thread begins in another bank
      MLA_KEEP_LOOP
      for (int i = 0; i < 32; ++i) {
        total += histogram[tid * 32 + (tid + i) % 32];
      }
      totals[tid] = total;
    }
    SyncBlock();
    const auto digit = static_cast<uint32_t>(FindDigit(totals, rest));
    threshold |= digit << shift;
    known |= 0xffu << shift;
  }
  return threshold;
}

// Each warp has consecutive ones of `count`: those from *begin to before *end.
MLA_DEVICE void PartOfWarp(int count, int64_t* begin, int64_t* end) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int per_warp = (count / kSelectThreads + 1) * 32;
  *begin = static_cast<int64_t>(warp) * per_warp;
  *end = *begin + per_warp < count ? *begin + per_warp : count;
}

// Stores, in their order, those of ranks above the threshold and the first
// `equal` that are at it. `counts`: [2 * kSelectWarps], shared.
template <class Rank>
MLA_DEVICE void StoreSelected(int count, Rank rank, uint32_t threshold,
                              int equal, int* counts, int32_t* selected) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int64_t begin, end;
  PartOfWarp(count, &begin, &end);
  int own_above = 0, own_equal = 0;
  for (int64_t i = begin + lane; i < end; i += 32) {
    const uint32_t r = rank(static_cast<int>(i));
    own_above += r > threshold ? 1 : 0;
    own_equal += r == threshold ? 1 : 0;
  }
  own_above = WarpTotal(own_above);
  own_equal = WarpTotal(own_equal);
  if (lane == 0) {
    counts[warp] = own_above;
    counts[kSelectWarps + warp] = own_equal;
  }
  SyncBlock();
  const int above = WarpTotal(lane < warp ? counts[lane] : 0);
  int at = WarpTotal(lane < warp ? counts[kSelectWarps + lane] : 0);
  int stored = above + (at < equal ? at : equal);
  const uint32_t lanes_before = (1u << lane) - 1;
  for (int64_t first = begin; first < end; first += 32) {
    const int64_t i = first + lane;
    const uint32_t r = i < end ? rank(static_cast<int>(i)) : 0;
    const bool is_equal = i < end && r == threshold;
    const uint32_t equals = Ballot(is_equal);
    const bool is_chosen =
        (i < end && r > threshold) ||
        (is_equal && at + BitsSet(equals & lanes_before) < equal);
    const uint32_t chosen = Ballot(is_chosen);
    if (is_chosen) {
      selected[stored + BitsSet(chosen & lanes_before)] =
          static_cast<int32_t>(i);
    }
    at += BitsSet(equals);
    stored += BitsSet(chosen);
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_RADIX_SELECT_CUH_

// Tested by tests/cuda/host_engine_test.cc.
#include "cuda_host/ready_threads.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace cuda_host {
namespace {

constexpr uint64_t kSwitchesPerPriority = 1024;  // of kSkew, on average

int LowestBit(uint32_t set) { return std::countr_zero(set); }
int HighestBit(uint32_t set) { return 31 - std::countl_zero(set); }

// The first bit from `from` on, or round to the first.
int NextBit(uint32_t set, int from) {
  const uint32_t rest = from < 32 ? set >> from << from : 0;
  return LowestBit(rest != 0 ? rest : set);
}

int RandomBit(uint32_t set, std::mt19937_64& random) {
  auto skip = random() % static_cast<uint64_t>(std::popcount(set));
  while (skip-- > 0) set &= set - 1;
  return LowestBit(set);
}

}  // namespace

void ReadyThreads::Reset(Order order, int num_warps, std::mt19937_64* random) {
  order_ = order;
  random_ = random;
  warps_ = 0;
  lanes_.assign(static_cast<size_t>(num_warps), 0);
  last_ = num_warps * 32 - 1;
  priority_.resize(static_cast<size_t>(num_warps));
  std::iota(priority_.begin(), priority_.end(), 0);
  if (order == Order::kSkew) {
    std::shuffle(priority_.begin(), priority_.end(), *random);
  }
}

void ReadyThreads::Add(int warp, uint32_t lanes) {
  if (lanes == 0) return;
  lanes_[static_cast<size_t>(warp)] |= lanes;
  warps_ |= 1u << warp;
}

int ReadyThreads::Take() {
  last_ = Choose();
  const int warp = last_ / 32;
  lanes_[static_cast<size_t>(warp)] &= ~(1u << last_ % 32);
  if (Lanes(warp) == 0) warps_ &= ~(1u << warp);
  return last_;
}

int ReadyThreads::Choose() {
  int warp = 0;
  switch (order_) {
    case Order::kRoundRobin: {
      warp = last_ / 32;
      const uint32_t behind = Lanes(warp) & ~((2u << last_ % 32) - 1);
      if (behind != 0) return warp * 32 + LowestBit(behind);
      warp = NextBit(warps_, warp + 1);
      return warp * 32 + LowestBit(Lanes(warp));
    }
    case Order::kReverse:
      warp = HighestBit(warps_);
      return warp * 32 + HighestBit(Lanes(warp));
    case Order::kRandom:
      warp = RandomBit(warps_, *random_);
      break;
    case Order::kSkew:
      if ((*random_)() % kSwitchesPerPriority == 0) {
        std::shuffle(priority_.begin(), priority_.end(), *random_);
      }
      warp = *std::find_if(priority_.begin(), priority_.end(),
                           [this](int w) { return Lanes(w) != 0; });
      break;
  }
  return warp * 32 + RandomBit(Lanes(warp), *random_);
}

}  // namespace cuda_host

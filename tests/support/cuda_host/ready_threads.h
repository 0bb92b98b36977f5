// ReadyThreads: the threads of a block that can run, and the choice of the
// next. Threads: one.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_READY_THREADS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_READY_THREADS_H_

#include <cstdint>
#include <random>
#include <vector>

namespace cuda_host {

enum class Order {
  kRoundRobin,  // 0, 1, 2, ... and again
  kRandom,
  kReverse,  // the last one that can
  kSkew,     // one warp far ahead of the others, in a random order of warps
};

class ReadyThreads {
 public:
  void Reset(Order order, int num_warps, std::mt19937_64* random);
  bool empty() const { return warps_ == 0; }
  void Add(int warp, uint32_t lanes);
  // Its number, 32 warp + lane. REQUIRES: !empty().
  int Take();

 private:
  int Choose();
  uint32_t Lanes(int warp) const { return lanes_[static_cast<size_t>(warp)]; }

  Order order_ = Order::kRoundRobin;
  std::mt19937_64* random_ = nullptr;
  uint32_t warps_ = 0;           // those with ready lanes
  std::vector<uint32_t> lanes_;  // [warps]
  std::vector<int> priority_;    // [warps], the first one first
  int last_ = 0;                 // thread taken
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_READY_THREADS_H_

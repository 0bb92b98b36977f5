// AsyncCopies: one thread's cp.async copies, by group, until they are waited
// for.
// Threads: one.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_COPIES_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_COPIES_H_

#include <cstddef>
#include <deque>
#include <vector>

#include "cuda_host/place.h"

namespace cuda_host {

struct AsyncCopy {
  static constexpr size_t kBytes = 16;

  unsigned char* dst = nullptr;
  const void* src = nullptr;
  size_t src_bytes = 0;  // zeros behind them
  Place at;              // where it was issued
};

class AsyncCopies {
 public:
  using Group = std::vector<AsyncCopy>;

  void Issue(const AsyncCopy& copy) { open_.push_back(copy); }
  void Commit();
  // The oldest group if more than `pending` are under way, else false.
  bool TakeOldest(size_t pending, Group* group);
  // One that nobody has waited for, or null.
  const AsyncCopy* Leftover() const;
  void Clear();

 private:
  Group open_;                // not committed
  std::deque<Group> groups_;  // oldest first
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ASYNC_COPIES_H_

// Tested by tests/cuda/primitives_test.cc.
#include "cuda_host/async_copies.h"

#include <utility>

namespace cuda_host {

void AsyncCopies::Commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

bool AsyncCopies::TakeOldest(size_t pending, Group* group) {
  if (groups_.size() <= pending) return false;
  *group = std::move(groups_.front());
  groups_.pop_front();
  return true;
}

const AsyncCopy* AsyncCopies::Leftover() const {
  for (const Group& group : groups_) {
    if (!group.empty()) return &group.front();
  }
  return open_.empty() ? nullptr : &open_.front();
}

void AsyncCopies::Clear() {
  open_.clear();
  groups_.clear();
}

}  // namespace cuda_host

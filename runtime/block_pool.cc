// Tested by tests/runtime/block_pool_test.cc.
#include "runtime/block_pool.h"

#include <cassert>
#include <utility>

namespace mla::runtime {

BlockPool::BlockPool(int num_blocks, std::function<void(int32_t)> on_evict)
    : blocks_(num_blocks), on_evict_(std::move(on_evict)) {
  free_.reserve(num_blocks);
  for (int32_t id = num_blocks - 1; id >= 0; --id) free_.push_back(id);
}

absl::StatusOr<int32_t> BlockPool::Allocate() {
  int32_t id;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else if (!cached_.empty()) {
    id = EvictOldest();
  } else {
    return absl::ResourceExhaustedError("the latent cache is full");
  }
  blocks_[id].refs = 1;
  ++active_;
  return id;
}

void BlockPool::Ref(int32_t id) {
  Block& block = blocks_[id];
  if (block.refs++ > 0) return;
  assert(block.kept);
  cached_.erase(block.cached_at);
  ++active_;
}

void BlockPool::Unref(int32_t id) {
  Block& block = blocks_[id];
  assert(block.refs > 0);
  if (--block.refs > 0) return;
  --active_;
  if (block.kept) {
    block.cached_at = cached_.insert(cached_.end(), id);
  } else {
    free_.push_back(id);
  }
}

void BlockPool::Keep(int32_t id) {
  assert(blocks_[id].refs > 0);
  blocks_[id].kept = true;
}

int BlockPool::Flush() {
  const int count = cached();
  while (!cached_.empty()) free_.push_back(EvictOldest());
  return count;
}

int32_t BlockPool::EvictOldest() {
  const int32_t id = cached_.front();
  cached_.pop_front();
  blocks_[id].kept = false;
  on_evict_(id);
  return id;
}

bool BlockPool::CheckInvariants() const {
  if (free() + active_ + cached() != total()) return false;
  std::vector<int> seen(blocks_.size());
  for (int32_t id : free_) {
    if (seen[id]++ != 0 || blocks_[id].refs != 0 || blocks_[id].kept) {
      return false;
    }
  }
  for (int32_t id : cached_) {
    if (seen[id]++ != 0 || blocks_[id].refs != 0 || !blocks_[id].kept) {
      return false;
    }
  }
  int active = 0;
  for (size_t id = 0; id < blocks_.size(); ++id) {
    active += blocks_[id].refs > 0;
    if ((blocks_[id].refs > 0) == (seen[id] > 0)) return false;
  }
  return active == active_;
}

}  // namespace mla::runtime

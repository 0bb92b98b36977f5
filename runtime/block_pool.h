// BlockPool hands out the blocks of the latent cache and counts who uses them.
// A block is free, active (someone holds a reference) or cached (no one does,
// but its content may be asked for again). It knows ids and counts only: what
// a block holds is its users' business, the bytes are the backend's.
// Threads: engine thread only.
// Units:   blocks; one block is valid in every layer.
// Errors:  RESOURCE_EXHAUSTED when nothing is free or cached; state unchanged.
// Flow:    Scheduler -> [here] -> block tables -> Backend
#ifndef MLA_RUNTIME_BLOCK_POOL_H_
#define MLA_RUNTIME_BLOCK_POOL_H_

#include <cstdint>
#include <functional>
#include <list>
#include <vector>

#include "absl/status/statusor.h"

namespace mla::runtime {

class BlockPool {
 public:
  // `on_evict(id)`: the cached block's content is about to be lost.
  BlockPool(int num_blocks, std::function<void(int32_t)> on_evict);

  // A block with one reference: a free one, else the cached one that was
  // released longest ago.
  absl::StatusOr<int32_t> Allocate();

  // One more reference. A cached block becomes active.
  void Ref(int32_t id);

  // One reference less. Without any, a kept block is cached, others are free.
  void Unref(int32_t id);

  // From now on the block's content is worth keeping.
  // REQUIRES: the block is active.
  void Keep(int32_t id);

  // Evicts every cached block; returns how many.
  int Flush();

  int total() const { return static_cast<int>(blocks_.size()); }
  int free() const { return static_cast<int>(free_.size()); }
  int cached() const { return static_cast<int>(cached_.size()); }
  int active() const { return active_; }
  // How many Allocate calls would succeed now.
  int available() const { return free() + cached(); }

  // free + active + cached == total, every list and count consistent.
  bool CheckInvariants() const;

 private:
  struct Block {
    int refs = 0;
    bool kept = false;
    std::list<int32_t>::iterator cached_at;  // valid when kept and refs == 0
  };

  int32_t EvictOldest();

  std::vector<Block> blocks_;
  std::vector<int32_t> free_;  // a stack: what was used last is still warm
  std::list<int32_t> cached_;  // released longest ago first
  int active_ = 0;
  std::function<void(int32_t)> on_evict_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_BLOCK_POOL_H_

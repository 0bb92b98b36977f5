// Scheduler decides which tokens the next step computes, and which blocks hold
// their rows: continuous batching (Orca, OSDI 22) over paged blocks (vLLM,
// 2309.06180) with chunked prefill (Sarathi-Serve, 2403.02310).
// Owns:    queues and block tables; sequences stay the caller's.
// Threads: engine thread only.
// Flow:    Engine -> [here] -> StepPlan -> Engine
//
// Policy: sequences are served in order of arrival. Those that generate go
// first, one token each; what the step's budget leaves goes to prompts, in
// chunks. When the pool is full, the latest arrival gives its blocks back and
// is recomputed later: the earliest therefore always proceeds, which is why
// preemption cannot livelock.
#ifndef MLA_RUNTIME_SCHEDULER_H_
#define MLA_RUNTIME_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <vector>

#include "runtime/block_pool.h"
#include "runtime/prefix_cache.h"
#include "runtime/sequence.h"

namespace mla::runtime {

struct SchedulerOptions {
  int num_blocks = 0;
  int block_tokens = 64;
  int max_running = 64;
  int max_step_tokens = 512;  // >= max_running
};

// `count` tokens of a sequence from its `computed` on.
struct ScheduledTokens {
  Sequence* sequence = nullptr;
  int count = 0;
  // The last of them is the newest token: its logits choose the next.
  bool samples() const { return count == sequence->pending(); }
};

struct StepPlan {
  std::vector<ScheduledTokens> entries;
  std::vector<Sequence*> admitted;  // for the first time
  std::vector<Sequence*> preempted;
  int num_tokens = 0;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The keys by which a prompt finds its prefix; see Sequence::prefix_keys.
  std::vector<PrefixCache::Key> PrefixKeys(const Sequence& sequence) const;

  // REQUIRES: the sequence can ever fit (Fits) and its order is unique.
  void Add(Sequence* sequence);
  // Gives its blocks back, whatever its state.
  void Remove(Sequence* sequence);

  StepPlan Schedule();
  // The plan's rows are in the cache now.
  void Commit(const StepPlan& plan);

  bool Fits(int64_t tokens) const {
    return tokens <= int64_t{options_.num_blocks} * options_.block_tokens;
  }
  int Flush() { return pool_.Flush(); }

  const BlockPool& pool() const { return pool_; }
  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return static_cast<int>(waiting_.size()); }
  int64_t active_tokens() const;  // rows of running sequences
  int64_t cached_tokens() const {
    return int64_t{pool_.cached()} * options_.block_tokens;
  }

 private:
  using Queue = std::map<uint64_t, Sequence*>;  // by order

  int BlocksFor(int tokens) const {
    return (tokens + options_.block_tokens - 1) / options_.block_tokens;
  }
  void ScheduleRunning(StepPlan& plan, bool generating);
  void AdmitWaiting(StepPlan& plan);
  bool Admit(Sequence& sequence);
  void AddEntry(StepPlan& plan, Sequence& sequence, int count);
  bool Grow(StepPlan& plan, Sequence& sequence, int tokens);
  void Preempt(StepPlan& plan, Sequence& sequence);
  void Release(Sequence& sequence);

  const SchedulerOptions options_;
  PrefixCache prefix_cache_;
  BlockPool pool_;
  Queue running_;
  Queue waiting_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SCHEDULER_H_

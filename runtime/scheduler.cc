// Tested by tests/runtime/scheduler_test.cc.
#include "runtime/scheduler.h"

#include <algorithm>
#include <cassert>

namespace mla::runtime {

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pool_(options.num_blocks, [this](int32_t id) {
        prefix_cache_.Erase(id);
      }) {}

std::vector<PrefixCache::Key> Scheduler::PrefixKeys(
    const Sequence& sequence) const {
  return prefix_cache_.Keys(
      absl::MakeConstSpan(sequence.tokens.data(), sequence.prompt_tokens),
      options_.block_tokens, sequence.long_prompt);
}

void Scheduler::Add(Sequence* sequence) {
  waiting_.emplace(sequence->order, sequence);
}

void Scheduler::Remove(Sequence* sequence) {
  running_.erase(sequence->order);
  waiting_.erase(sequence->order);
  Release(*sequence);
}

StepPlan Scheduler::Schedule() {
  StepPlan plan;
  ScheduleRunning(plan, /*generating=*/true);
  ScheduleRunning(plan, /*generating=*/false);
  // Taking in more while giving up some would only give up more.
  if (plan.preempted.empty()) AdmitWaiting(plan);
  assert(pool_.CheckInvariants());
  return plan;
}

void Scheduler::ScheduleRunning(StepPlan& plan, bool generating) {
  // Preemption removes entries behind the current one only.
  for (auto it = running_.begin(); it != running_.end();) {
    Sequence& sequence = *it->second;
    const int left = options_.max_step_tokens - plan.num_tokens;
    const int count = std::min(sequence.pending(), left);
    const bool wanted = (sequence.pending() == 1) == generating;
    if (wanted && count > 0 && Grow(plan, sequence, count)) {
      AddEntry(plan, sequence, count);
    }
    // Grow may have preempted this very sequence.
    it = running_.upper_bound(sequence.order);
  }
}

void Scheduler::AdmitWaiting(StepPlan& plan) {
  while (!waiting_.empty() && plan.num_tokens < options_.max_step_tokens &&
         running() < options_.max_running) {
    Sequence& sequence = *waiting_.begin()->second;
    if (!Admit(sequence)) return;
    waiting_.erase(waiting_.begin());
    running_.emplace(sequence.order, &sequence);
    if (++sequence.admissions == 1) {
      sequence.cached_tokens = sequence.computed;
      plan.admitted.push_back(&sequence);
    }
    const int count = std::min(sequence.pending(),
                               options_.max_step_tokens - plan.num_tokens);
    if (Grow(plan, sequence, count)) AddEntry(plan, sequence, count);
  }
}

// Takes what the prefix cache has, if blocks for all the rest are there too: a
// sequence that starts without them would soon be preempted. An empty pool is
// enough for any sequence.
bool Scheduler::Admit(Sequence& sequence) {
  // One token at least is computed, since its logits are wanted.
  const int reusable = (sequence.size() - 1) / options_.block_tokens;
  for (const PrefixCache::Key& key : sequence.prefix_keys) {
    if (static_cast<int>(sequence.block_table.size()) == reusable) break;
    const std::optional<int32_t> block = prefix_cache_.Find(key);
    if (!block) break;
    pool_.Ref(*block);
    sequence.block_table.push_back(*block);
  }
  const int found = static_cast<int>(sequence.block_table.size());
  const int missing = BlocksFor(sequence.size() + 1) - found;
  if (pool_.available() < missing && !running_.empty()) {
    Release(sequence);
    return false;
  }
  sequence.computed = found * options_.block_tokens;
  sequence.kept_blocks = found;
  return true;
}

void Scheduler::AddEntry(StepPlan& plan, Sequence& sequence, int count) {
  plan.entries.push_back({&sequence, count});
  plan.num_tokens += count;
}

// Gives the sequence blocks for `tokens` more, at the cost of later arrivals.
// False if it was itself the latest and is preempted.
bool Scheduler::Grow(StepPlan& plan, Sequence& sequence, int tokens) {
  const int wanted = BlocksFor(sequence.computed + tokens);
  while (static_cast<int>(sequence.block_table.size()) < wanted) {
    if (const absl::StatusOr<int32_t> block = pool_.Allocate(); block.ok()) {
      sequence.block_table.push_back(*block);
      continue;
    }
    Sequence& latest = *running_.rbegin()->second;
    Preempt(plan, latest);
    if (&latest == &sequence) return false;
  }
  return true;
}

void Scheduler::Preempt(StepPlan& plan, Sequence& sequence) {
  running_.erase(sequence.order);
  Release(sequence);
  waiting_.emplace(sequence.order, &sequence);
  plan.preempted.push_back(&sequence);
  std::erase_if(plan.entries, [&](const ScheduledTokens& entry) {
    if (entry.sequence != &sequence) return false;
    plan.num_tokens -= entry.count;
    return true;
  });
}

void Scheduler::Release(Sequence& sequence) {
  // Last block first: a prefix outlives its continuations.
  while (!sequence.block_table.empty()) {
    pool_.Unref(sequence.block_table.back());
    sequence.block_table.pop_back();
  }
  sequence.computed = 0;
  sequence.kept_blocks = 0;
}

void Scheduler::Commit(const StepPlan& plan) {
  for (const ScheduledTokens& entry : plan.entries) {
    Sequence& sequence = *entry.sequence;
    sequence.computed += entry.count;
    const int full = std::min(sequence.computed / options_.block_tokens,
                              static_cast<int>(sequence.prefix_keys.size()));
    for (; sequence.kept_blocks < full; ++sequence.kept_blocks) {
      const int32_t block = sequence.block_table[sequence.kept_blocks];
      if (prefix_cache_.Insert(sequence.prefix_keys[sequence.kept_blocks],
                               block)) {
        pool_.Keep(block);
      }
    }
  }
}

int64_t Scheduler::active_tokens() const {
  int64_t tokens = 0;
  for (const auto& [order, sequence] : running_) tokens += sequence->computed;
  return tokens;
}

}  // namespace mla::runtime

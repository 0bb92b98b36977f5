// The scheduler alone, with a shadow of the cache: every row remembers which
// token of which prefix was written to it, so that a sequence that would read
// another's row, or an unwritten one, is caught at once.
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace mla::runtime {
namespace {

constexpr int kBlockTokens = 4;

class Simulation {
 public:
  explicit Simulation(const SchedulerOptions& options)
      : options(options),
        scheduler(options),
        shadow(size_t(options.num_blocks) * kBlockTokens) {}

  Sequence* Add(std::vector<int32_t> prompt, int generate) {
    Sequence& s = *owned.emplace_back(std::make_unique<Sequence>());
    s.order = next_order++;
    s.prompt_tokens = static_cast<int>(prompt.size());
    s.tokens = std::move(prompt);
    s.prefix_keys = scheduler.PrefixKeys(s);
    remaining[&s] = generate;
    scheduler.Add(&s);
    return &s;
  }

  void Remove(Sequence* s) {
    scheduler.Remove(s);
    remaining.erase(s);
  }

  // One step, as the engine makes it. Returns the plan.
  StepPlan Step() {
    StepPlan plan = scheduler.Schedule();
    CheckPlan(plan);
    for (const ScheduledTokens& entry : plan.entries) Write(entry);
    for (const ScheduledTokens& entry : plan.entries) Read(entry);
    std::vector<Sequence*> sampled;
    for (const ScheduledTokens& entry : plan.entries) {
      if (entry.samples()) sampled.push_back(entry.sequence);
    }
    scheduler.Commit(plan);
    for (Sequence* s : sampled) {
      s->tokens.push_back(static_cast<int32_t>(s->order * 1000 + s->size()));
      if (--remaining[s] == 0) Remove(s);
    }
    EXPECT_TRUE(scheduler.pool().CheckInvariants());
    return plan;
  }

  SchedulerOptions options;
  Scheduler scheduler;
  std::map<Sequence*, int> remaining;  // tokens still to generate

 private:
  // What a row must hold: its token, at the end of its whole prefix.
  struct Row {
    std::vector<int32_t> prefix;
  };

  void CheckPlan(const StepPlan& plan) {
    int tokens = 0;
    for (const ScheduledTokens& entry : plan.entries) {
      tokens += entry.count;
      EXPECT_GT(entry.count, 0);
      EXPECT_LE(entry.count, entry.sequence->pending());
      EXPECT_GE(int(entry.sequence->block_table.size()) * kBlockTokens,
                entry.sequence->computed + entry.count);
    }
    EXPECT_EQ(tokens, plan.num_tokens);
    EXPECT_LE(tokens, options.max_step_tokens);
    EXPECT_LE(scheduler.running(), options.max_running);
  }

  Row& At(const Sequence& s, int position) {
    return shadow[size_t(s.block_table[position / kBlockTokens]) *
                      kBlockTokens +
                  position % kBlockTokens];
  }
  static std::vector<int32_t> Prefix(const Sequence& s, int position) {
    return {s.tokens.begin(), s.tokens.begin() + position + 1};
  }
  void Write(const ScheduledTokens& entry) {
    const Sequence& s = *entry.sequence;
    for (int i = s.computed; i < s.computed + entry.count; ++i) {
      At(s, i).prefix = Prefix(s, i);
    }
  }
  void Read(const ScheduledTokens& entry) {
    const Sequence& s = *entry.sequence;
    for (int i = 0; i < s.computed + entry.count; ++i) {
      ASSERT_EQ(At(s, i).prefix, Prefix(s, i))
          << "sequence " << s.order << " row " << i;
    }
  }

  std::vector<std::unique_ptr<Sequence>> owned;
  std::vector<Row> shadow;
  uint64_t next_order = 0;
};

std::vector<int32_t> Tokens(int count, int first) {
  std::vector<int32_t> tokens(count);
  for (int i = 0; i < count; ++i) tokens[i] = first + i;
  return tokens;
}

TEST(Scheduler, DecodesGoFirstAndAPromptIsCutToWhatTheyLeave) {
  Simulation sim({.num_blocks = 100,
                  .block_tokens = kBlockTokens,
                  .max_running = 8,
                  .max_step_tokens = 10});
  Sequence* a = sim.Add(Tokens(3, 0), 5);
  EXPECT_EQ(sim.Step().num_tokens, 3);
  Sequence* b = sim.Add(Tokens(25, 100), 2);
  StepPlan plan = sim.Step();
  ASSERT_EQ(plan.entries.size(), 2u);
  EXPECT_EQ(plan.entries[0].sequence, a);
  EXPECT_EQ(plan.entries[0].count, 1);
  EXPECT_EQ(plan.entries[1].sequence, b);
  EXPECT_EQ(plan.entries[1].count, 9);
  EXPECT_FALSE(plan.entries[1].samples());
  EXPECT_EQ(sim.Step().num_tokens, 10);
  EXPECT_EQ(sim.Step().num_tokens, 1 + 7);  // the prompt's rest
  EXPECT_EQ(sim.Step().num_tokens, 2);
}

TEST(Scheduler, AFullPoolPreemptsTheLatestAndItComesBack) {
  Simulation sim({.num_blocks = 4,
                  .block_tokens = kBlockTokens,
                  .max_running = 8,
                  .max_step_tokens = 64});
  Sequence* first = sim.Add(Tokens(6, 0), 8);
  Sequence* second = sim.Add(Tokens(6, 100), 8);
  int preempted = 0;
  for (int step = 0; step < 100 && !sim.remaining.empty(); ++step) {
    for (Sequence* s : sim.Step().preempted) {
      EXPECT_EQ(s, second);
      ++preempted;
    }
  }
  EXPECT_TRUE(sim.remaining.empty());
  EXPECT_GT(preempted, 0);
  EXPECT_EQ(first->size(), 14);
  EXPECT_EQ(second->size(), 14);
  EXPECT_EQ(first->admissions, 1);
  EXPECT_GT(second->admissions, 1);
}

TEST(Scheduler, APromptFindsTheBlocksOfAnEarlierOne) {
  Simulation sim({.num_blocks = 32,
                  .block_tokens = kBlockTokens,
                  .max_running = 8,
                  .max_step_tokens = 64});
  sim.Add(Tokens(18, 0), 1);
  sim.Step();
  EXPECT_EQ(sim.scheduler.pool().cached(), 4);  // of 18 tokens, 16
  EXPECT_EQ(sim.scheduler.cached_tokens(), 16);
  Sequence* again = sim.Add(Tokens(18, 0), 1);
  EXPECT_EQ(sim.Step().num_tokens, 2);
  EXPECT_EQ(again->cached_tokens, 16);
  // All of a prompt in the cache: its last token is computed all the same.
  Sequence* whole = sim.Add(Tokens(16, 0), 1);
  EXPECT_EQ(sim.Step().num_tokens, 4);
  EXPECT_EQ(whole->cached_tokens, 12);
  EXPECT_EQ(sim.scheduler.Flush(), 4);
  Sequence* cold = sim.Add(Tokens(18, 0), 1);
  EXPECT_EQ(sim.Step().num_tokens, 18);
  EXPECT_EQ(cold->cached_tokens, 0);
}

TEST(Scheduler, ASequenceIsNotStartedWithoutRoomForItsPrompt) {
  Simulation sim({.num_blocks = 6,
                  .block_tokens = kBlockTokens,
                  .max_running = 8,
                  .max_step_tokens = 8});
  sim.Add(Tokens(8, 0), 4);
  sim.Step();
  sim.Add(Tokens(16, 100), 1);  // needs five blocks of the three that are left
  sim.Step();
  EXPECT_EQ(sim.scheduler.running(), 1);
  EXPECT_EQ(sim.scheduler.waiting(), 1);
  for (int step = 0; step < 20; ++step) sim.Step();
  EXPECT_TRUE(sim.remaining.empty());
}

// Arrivals, shared prefixes, removals and a tiny pool, for many seeds.
TEST(Scheduler, RandomTrafficNeverMixesRowsAndAlwaysEnds) {
  for (int seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Simulation sim({.num_blocks = 8 + int(random() % 12),
                    .block_tokens = kBlockTokens,
                    .max_running = 1 + int(random() % 6),
                    .max_step_tokens = 6 + int(random() % 30)});
    const int capacity = sim.options.num_blocks * kBlockTokens;
    int added = 0, steps = 0;
    while (added < 40 || !sim.remaining.empty()) {
      if (added < 40 && random() % 3 == 0) {
        // Prompts begin alike, so that they share blocks.
        const int prompt = 1 + random() % (capacity / 2);
        std::vector<int32_t> tokens = Tokens(prompt, 0);
        const int shared = random() % (prompt + 1);
        for (int i = shared; i < prompt; ++i) tokens[i] += 10000 * added;
        const int generate = 1 + random() % (capacity - prompt);
        ASSERT_TRUE(sim.scheduler.Fits(prompt + generate));
        sim.Add(tokens, generate);
        ++added;
      }
      if (!sim.remaining.empty() && random() % 20 == 0) {
        sim.Remove(
            std::next(sim.remaining.begin(), random() % sim.remaining.size())
                ->first);
      }
      if (random() % 50 == 0) sim.scheduler.Flush();
      sim.Step();
      ASSERT_LT(++steps, 100000) << "no progress";
      if (::testing::Test::HasFatalFailure()) return;
    }
    EXPECT_EQ(sim.scheduler.pool().active(), 0);
    sim.scheduler.Flush();
    EXPECT_EQ(sim.scheduler.pool().free(), sim.options.num_blocks);
  }
}

}  // namespace
}  // namespace mla::runtime

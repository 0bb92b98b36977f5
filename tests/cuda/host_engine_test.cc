// The engine that executes kernels on the host: what a launch is, in which
// orders threads run, and what it says of kernels that cannot go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cuda_host/engine.h"
#include "cuda_host/every_order.h"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Engine;
using cuda_host::Error;
using cuda_host::ErrorsOf;
using cuda_host::HiddenFromTsan;
using cuda_host::kSchedules;
using cuda_host::Order;
using cuda_host::Place;
using cuda_host::RunKernel;
using cuda_host::Schedule;
using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

int Thread() { return static_cast<int>(threadIdx.x); }

// For the test, not a part of the kernel that calls it.
void Note(std::vector<int>* trace, int value) {
  HiddenFromTsan hidden;
  trace->push_back(value);
}

// A kernel that uses everything: sums of blocks by warps, shared memory and an
// atomic. Integers, so that no order shows.
constexpr int kSumThreads = 96;
void SumKernel(const int* in, int* sums, int* total) {
  MLA_SHARED_MEMORY(memory);
  int* of_warp = reinterpret_cast<int*>(memory);
  const int block = static_cast<int>(blockIdx.x);
  int sum = in[block * kSumThreads + Thread()];
  for (int i = 16; i > 0; i /= 2) sum += ShuffleXor(sum, i);
  if (Thread() % 32 == 0) of_warp[Thread() / 32] = sum;
  SyncBlock();
  sum = of_warp[0] + of_warp[1] + of_warp[2];
  SyncBlock();
  of_warp[Thread()] = sum + Thread();
  SyncBlock();
  sums[block * kSumThreads + Thread()] = of_warp[kSumThreads - 1 - Thread()];
  if (Thread() == 0) AtomicAdd(total, sum);
}

TEST(HostEngine, EveryThreadOfEveryBlockRunsOnce) {
  const dim3 grid(3, 2, 2), block(5, 4, 3);
  for (const Schedule& schedule : kSchedules) {
    std::vector<int> runs(3 * 2 * 2 * 5 * 4 * 3, 0);
    RunKernel(schedule, grid, block, 0, [&] {
      EXPECT_EQ(gridDim.y, 2u);
      EXPECT_EQ(blockDim.z, 3u);
      const uint3 b = blockIdx, t = threadIdx;
      const unsigned at = (b.z * 2 + b.y) * 3 + b.x;
      ++runs[((at * 3 + t.z) * 4 + t.y) * 5 + t.x];
    });
    EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
  }
}

TEST(HostEngine, ACorrectKernelGivesTheSameInEveryOrder) {
  constexpr int kBlocks = 5;
  std::vector<int> in(kBlocks * kSumThreads);
  std::iota(in.begin(), in.end(), 7);
  for (const Schedule& schedule : kSchedules) {
    std::vector<int> sums(in.size(), -1);
    int total = 0;
    RunKernel(schedule, kBlocks, kSumThreads, 1024,
              [&] { SumKernel(in.data(), sums.data(), &total); });
    EXPECT_EQ(total, std::accumulate(in.begin(), in.end(), 0));
    for (int i = 0; i < kBlocks * kSumThreads; ++i) {
      const auto begin = in.begin() + i / kSumThreads * kSumThreads;
      const int sum = std::accumulate(begin, begin + kSumThreads, 0);
      ASSERT_EQ(sums[i], sum + kSumThreads - 1 - i % kSumThreads) << i;
    }
  }
}

TEST(HostEngine, OrdersDifferAndEachIsRepeatable) {
  std::set<std::vector<int>> traces;
  for (const Schedule& schedule : kSchedules) {
    std::vector<int> traced[2];
    for (std::vector<int>& trace : traced) {
      RunKernel(schedule, 4, 128, 0, [&] {
        for (int i = 0; i < 3; ++i) {
          Note(&trace, static_cast<int>(blockIdx.x) * 128 + Thread());
          if (i == 0) SyncBlock();
          SyncWarp();
        }
      });
    }
    EXPECT_EQ(traced[0], traced[1]);
    traces.insert(traced[0]);
  }
  EXPECT_EQ(traces.size(), kSchedules.size());
}

TEST(HostEngine, OrdersStartAsTheyAreCalled) {
  const auto first_threads = [](Order order) {
    std::vector<int> trace;
    RunKernel({order, 3}, 1, 64, 0, [&] { Note(&trace, Thread()); });
    return trace;
  };
  std::vector<int> ascending(64);
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(first_threads(Order::kRoundRobin), ascending);
  std::reverse(ascending.begin(), ascending.end());
  EXPECT_EQ(first_threads(Order::kReverse), ascending);
  // One warp, then the other.
  const std::vector<int> skew = first_threads(Order::kSkew);
  const int first = skew[0] / 32;
  EXPECT_TRUE(std::all_of(skew.begin(), skew.begin() + 32,
                          [&](int t) { return t / 32 == first; }));
}

TEST(HostEngine, SharedMemoryOfEveryBlockStartsAsNaN) {
  constexpr size_t kBytes = 1024 + 36;
  int bad[3] = {};
  RunKernel(3, 1, kBytes, [&] {
    MLA_SHARED_MEMORY(memory);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 1024, 0u);
    for (size_t i = 0; i < kBytes; ++i) bad[blockIdx.x] += memory[i] != 0xff;
    EXPECT_TRUE(std::isnan(*reinterpret_cast<float*>(memory)));
    EXPECT_TRUE(std::isnan(Bf16ToFloat(memory[0] | memory[1] << 8)));
    std::fill_n(memory, kBytes, 0);
  });
  EXPECT_THAT(bad, Each(0));
}

TEST(HostEngine, WritesBesideSharedMemoryAreSeen) {
  const auto kernel = [](ptrdiff_t at) {
    return [at] {
      MLA_SHARED_MEMORY(memory);
      memory[at] = 1;
    };
  };
#ifdef CUDA_HOST_ASAN
  EXPECT_DEATH(RunKernel(1, 1, 100, kernel(100)), "use-after-poison");
  EXPECT_DEATH(RunKernel(1, 1, 100, kernel(-1)), "use-after-poison");
#else
  const auto seen = Each(
      HasSubstr("block (0, 0, 0): something was written beside the 100 bytes"));
  EXPECT_THAT(ErrorsOf(1, 100, kernel(100)), seen);
  EXPECT_THAT(ErrorsOf(1, 100, kernel(1023)), seen);
  EXPECT_THAT(ErrorsOf(1, 100, kernel(-1)), seen);
  EXPECT_DEATH(RunKernel(1, 1, 100, kernel(1024)), "");
#endif
  EXPECT_THAT(ErrorsOf(1, 100, kernel(99)), Each(""));
}

// ---- kernels that cannot go on

TEST(HostEngine, ADeadlockNamesWhoWaitsWhere) {
  const int line = __LINE__;
  const auto messages = ErrorsOf(64, 0, [] {
    if (Thread() >= 40) return;
    if (Thread() < 3) {
      SyncBlock();
    } else if (Thread() < 32) {
      SyncWarp();
    }
  });
  const auto at = [&](int after) {
    return " (host_engine_test.cc:" + std::to_string(line + after) + ")";
  };
  EXPECT_THAT(
      messages,
      Each(AllOf(
          HasSubstr("deadlock: block (0, 0, 0), thread 0 (warp 0, lane 0) at "
                    "SyncBlock" +
                    at(4) + " and 2 more wait"),
          HasSubstr("thread 3 (warp 0, lane 3) at SyncWarp" + at(6) +
                    " and 28 more wait"),
          HasSubstr("32 threads have exited"))));
}

// A line of a kernel is a place, so kernels stand outside of macros.
TEST(HostEngine, AWarpThatDivergesAtAPrimitiveIsAnError) {
  const auto two_primitives = [] {
    if (Thread() % 2 == 0) {
      SyncWarp();
    } else {
      Ballot(true);
    }
  };
  EXPECT_THAT(ErrorsOf(32, 0, two_primitives),
              Each(AllOf(HasSubstr("the warp diverges"),
                         HasSubstr("at SyncWarp"), HasSubstr("at Ballot"))));
  const auto two_places = [] {
    if (Thread() % 2 == 0) {
      ShuffleXor(1, 1);
    } else {
      ShuffleXor(1, 1);
    }
  };
  EXPECT_THAT(ErrorsOf(32, 0, two_places),
              Each(HasSubstr("the warp diverges")));
}

TEST(HostEngine, AWarpHasAll32LanesAtAPrimitive) {
  EXPECT_THAT(ErrorsOf(40, 0, [] { SyncWarp(); }),
              Each(HasSubstr("lane 8 of the warp does not exist")));
  const auto one_exits = [] {
    if (Thread() != 5) SyncWarp();
  };
  EXPECT_THAT(
      ErrorsOf(32, 0, one_exits),
      Each(AnyOf(HasSubstr("lane 5 of the warp has exited"),
                 HasSubstr("thread 5 (warp 0, lane 5) exits while lanes of its "
                           "warp wait at SyncWarp (host_engine_test.cc:"))));
}

TEST(HostEngine, TheBlockMeetsAtOneBarrier) {
  const auto two_barriers = [] {
    if (Thread() < 32) {
      SyncBlock();
    } else {
      SyncBlock();
    }
  };
  EXPECT_THAT(ErrorsOf(64, 0, two_barriers),
              Each(HasSubstr("the block meets at two barriers")));
}

TEST(HostEngine, ABarrierDoesNotWaitForExitedThreads) {
  const auto half_exits = [] {
    if (Thread() >= 32) return;
    SyncBlock();
    SyncBlock();
  };
  EXPECT_THAT(ErrorsOf(64, 0, half_exits), Each(""));
}

TEST(HostEngine, AnErrorUnwindsAllThreadsAndLeavesTheEngineReusable) {
  struct Counted {
    explicit Counted(int* live) : live(live) { Add(1); }
    ~Counted() { Add(-1); }
    void Add(int n) {
      HiddenFromTsan hidden;
      *live += n;
    }
    int* live;
  };
  for (const Schedule& schedule : kSchedules) {
    int live = 0;
    const auto fails = [&] {
      Counted counted(&live);
      std::vector<int> heap(100);
      if (Thread() == 70) throw std::runtime_error("the kernel's own");
      SyncBlock();
    };
    EXPECT_THROW(RunKernel(schedule, 2, 128, 0, fails), std::runtime_error);
    EXPECT_EQ(live, 0);
    const auto deadlocks = [&] {
      Counted counted(&live);
      if (Thread() == 0) {
        SyncBlock();
      } else {
        SyncWarp();
      }
    };
    EXPECT_THROW(RunKernel(schedule, 2, 32, 0, deadlocks), Error);
    EXPECT_EQ(live, 0);

    std::vector<int> in(kSumThreads, 1), sums(kSumThreads);
    int total = 0;
    RunKernel(schedule, 1, kSumThreads, 1024,
              [&] { SumKernel(in.data(), sums.data(), &total); });
    EXPECT_EQ(total, kSumThreads);
  }
}

TEST(HostEngine, LaunchesThatAreNoneAreRefused) {
  const auto nothing = [] {};
  EXPECT_THROW(RunKernel(dim3(1, 0), 32, 0, nothing), Error);
  EXPECT_THROW(RunKernel(1, 0, 0, nothing), Error);
  EXPECT_THROW(RunKernel(1, dim3(32, 32, 2), 0, nothing), Error);
  EXPECT_THROW(RunKernel(1, 1, 0, [&] { RunKernel(1, 1, 0, nothing); }), Error);
  EXPECT_THROW(SyncBlock(), Error);
  EXPECT_THROW(CopyAsyncCommit(), Error);
  RunKernel(1, 1024, 0, nothing);
}

TEST(HostEngine, EveryThreadOfTheProgramHasItsOwn) {
  std::vector<std::thread> threads;
  std::vector<int> totals(2, 0);
  for (int& total : totals) {
    threads.emplace_back([&total] {
      std::vector<int> in(kSumThreads * 8, 1), sums(in.size());
      RunKernel({Order::kRandom, 1}, 8, kSumThreads, 1024,
                [&] { SumKernel(in.data(), sums.data(), &total); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(totals, ElementsAre(kSumThreads * 8, kSumThreads * 8));
}

// ---- counters

TEST(HostEngine, CountersAreTheSameInEveryOrder) {
  constexpr int kBlocks = 4;
  std::vector<int> in(kBlocks * kSumThreads, 1), sums(in.size());
  Engine& engine = Engine::Get();
  for (const Schedule& schedule : kSchedules) {
    engine.ResetCounters();
    int total = 0;
    RunKernel(schedule, kBlocks, kSumThreads, 1024,
              [&] { SumKernel(in.data(), sums.data(), &total); });
    const Engine::Counters& c = engine.counters();
    EXPECT_EQ(c.launches, 1u);
    EXPECT_EQ(c.blocks, uint64_t{kBlocks});
    EXPECT_EQ(c.block_barriers, uint64_t{kBlocks * 3});
    EXPECT_EQ(c.shuffles, uint64_t{kBlocks * kSumThreads / 32 * 5});
    EXPECT_EQ(c.atomics, uint64_t{kBlocks});
    EXPECT_GE(c.switches, uint64_t{kBlocks * kSumThreads * 4});
    EXPECT_EQ(c.mma + c.load_matrix + c.copy_async, 0u);
  }
}

// ---- what later architectures hang in

// A note that some thread leaves, delivered when nobody can go on without.
class Mailbox : public cuda_host::Background {
 public:
  void StartBlock() override {
    has_note_ = false;
    readers_.clear();
  }
  bool Advance() override {
    if (!has_note_) return false;
    has_note_ = false;
    for (const int thread : readers_) Engine::Get().Wake(thread);
    readers_.clear();
    return true;
  }
  std::string Leftover() const override {
    return has_note_ ? "a note was not read" : "";
  }

  static void Leave() {
    HiddenFromTsan hidden;
    Engine::Get().Of<Mailbox>().has_note_ = true;
  }
  static void Read() {
    HiddenFromTsan hidden;
    Engine& engine = Engine::Get();
    const int reader = engine.Current("Read", Place::Here()).number;
    engine.Of<Mailbox>().readers_.push_back(reader);
    engine.Wait("Read", Place::Here());
  }

 private:
  bool has_note_ = false;
  std::vector<int> readers_;
};

TEST(HostEngine, WhatIsInTheBackgroundAdvancesWhenNoThreadCan) {
  const auto one_leaves = [] {
    if (Thread() == 9) {
      Mailbox::Leave();
    } else {
      Mailbox::Read();
    }
  };
  EXPECT_THAT(ErrorsOf(64, 0, one_leaves), Each(""));
  EXPECT_THAT(ErrorsOf(2, 0, Mailbox::Read),
              Each(HasSubstr("(warp 0, lane 0) at Read")));
  EXPECT_THAT(ErrorsOf(2, 0, Mailbox::Leave),
              Each("block (0, 0, 0): a note was not read"));
}

}  // namespace
}  // namespace mla::kernels::cuda

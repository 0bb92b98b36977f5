// Kernels with one barrier or one wait left out, and what shows it: results
// that differ in some order of threads, and ThreadSanitizer in any order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "cuda_host/every_order.h"
#include "cuda_host/sanitizers.h"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Error;
using cuda_host::kSchedules;
using cuda_host::RunKernel;
using cuda_host::Schedule;

constexpr int kThreads = 64;
constexpr int kBlocks = 2;
constexpr int kSharedBytes = 2 * kThreads * 16;
using Results = std::vector<float>;  // [kBlocks, kThreads]

// `is_whole`: with the barrier or wait that the test is about.
using Kernel = std::function<void(bool is_whole, float* out)>;

int Thread() { return static_cast<int>(threadIdx.x); }
float* Out(float* out) {
  return out + static_cast<int>(blockIdx.x) * kThreads + Thread();
}

Results Compute(const Schedule& schedule, const Kernel& kernel, bool is_whole) {
  Results out(kBlocks * kThreads, -1.0f);
  RunKernel(schedule, kBlocks, kThreads, kSharedBytes,
            [&] { kernel(is_whole, out.data()); });
  return out;
}

// In how many orders the results are others than `right`, or none.
long OrdersThatShow(const Kernel& kernel, const Results& right) {
  return std::count_if(
      kSchedules.begin(), kSchedules.end(), [&](const Schedule& schedule) {
        try {
          return Compute(schedule, kernel, /*is_whole=*/false) != right;
        } catch (const Error&) {
          return true;
        }
      });
}

Results RightResults(const Kernel& kernel) {
  const Results right = Compute({}, kernel, /*is_whole=*/true);
  for (const Schedule& schedule : kSchedules) {
    EXPECT_EQ(Compute(schedule, kernel, /*is_whole=*/true), right);
  }
  return right;
}

void ExpectTsanShows(const Kernel& kernel) {
#ifdef CUDA_HOST_TSAN
  for (const Schedule& schedule : kSchedules) {
    EXPECT_EXIT(
        {
          Compute(schedule, kernel, /*is_whole=*/false);
          std::exit(0);
        },
        testing::ExitedWithCode(66), "data race");
  }
#endif
}

// The whole kernel is right in every order, with nothing for ThreadSanitizer to
// report, and the one with something left out is found.
void ExpectFound(const Kernel& kernel) {
  const Results right = RightResults(kernel);
#ifdef CUDA_HOST_TSAN
  ExpectTsanShows(kernel);
#else
  EXPECT_GE(OrdersThatShow(kernel, right), 1);
#endif
}

struct alignas(16) Source {
  float values[1024];
  Source() {
    for (int i = 0; i < 1024; ++i) values[i] = static_cast<float>(i);
  }
};
const Source kSource;

TEST(Race, BarrierBeforeReadingWhatOthersWrote) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[Thread()] = static_cast<float>(Thread());
    if (is_whole) SyncBlock();
    *Out(out) = tile[Thread() ^ 32];
  });
}

TEST(Race, BarrierBeforeWritingWhatOthersRead) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
      if (is_whole) SyncBlock();
      tile[Thread()] = static_cast<float>(Thread() + 100 * i);
      SyncBlock();
      sum = sum * 2 + tile[Thread() ^ 32];
    }
    *Out(out) = sum;
  });
}

TEST(Race, WarpBarrierBetweenLanes) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[Thread()] = static_cast<float>(Thread());
    if (is_whole) SyncWarp();
    *Out(out) = tile[Thread() ^ 1];
  });
}

TEST(Race, AWarpBarrierDoesNotOrderOtherWarps) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[Thread()] = static_cast<float>(Thread());
    SyncWarp();
    if (is_whole) SyncBlock();
    *Out(out) = tile[Thread() ^ 32];
  });
}

// Lanes that meet, without memory being ordered: nothing but TSan shows it.
TEST(Race, AShuffleOrdersNoMemory) {
  ExpectTsanShows([](bool, float* out) {
    MLA_SHARED_MEMORY(memory);
    float* tile = reinterpret_cast<float*>(memory);
    tile[Thread()] = static_cast<float>(Thread());
    ShuffleXor(1, 1);
    *Out(out) = tile[Thread() ^ 1];
  });
}

TEST(Race, BarrierAfterTheWaitForOthersCopies) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    CopyAsync16(memory + Thread() * 16, &kSource.values[Thread() * 4], 16);
    CopyAsyncCommit();
    CopyAsyncWait<0>();
    if (is_whole) SyncBlock();
    *Out(out) = reinterpret_cast<float*>(memory)[(Thread() ^ 32) * 4];
  });
}

// The copy lands when its thread waits for it: a barrier before that is none.
TEST(Race, TheBarrierComesAfterTheWait) {
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    CopyAsync16(memory + Thread() * 16, &kSource.values[Thread() * 4], 16);
    CopyAsyncCommit();
    SyncBlock();
    CopyAsyncWait<0>();
    if (is_whole) SyncBlock();
    *Out(out) = reinterpret_cast<float*>(memory)[(Thread() ^ 32) * 4];
  });
}

// A pipeline of two stages. What is read is whole rows, through ldmatrix.
void Pipeline(bool waits_enough, bool has_barrier, float* out) {
  MLA_SHARED_MEMORY(memory);
  const auto load = [&](int i) {
    CopyAsync16(memory + i % 2 * kThreads * 16 + Thread() * 16,
                &kSource.values[(i * 37 + Thread()) % 256 * 4], 16);
    CopyAsyncCommit();
  };
  float sum = 0;
  load(0);
  for (int i = 0; i < 5; ++i) {
    if (has_barrier) SyncBlock();  // all have read what the next one replaces
    load(i + 1);
    if (waits_enough) {
      CopyAsyncWait<1>();
    } else {
      CopyAsyncWait<2>();
    }
    SyncBlock();
    uint32_t r[4];
    LoadMatrix(r, memory + i % 2 * kThreads * 16 + (Thread() ^ 32) * 16);
    sum = sum * 0.5f + FloatOfBits(r[0]) + FloatOfBits(r[3]);
  }
  CopyAsyncWait<0>();
  *Out(out) = sum;
}

// No race: the thread itself reads its copy, or is told of it, too early.
TEST(Race, WaitForEnoughGroups) {
  const Kernel kernel = [](bool is_whole, float* out) {
    Pipeline(is_whole, true, out);
  };
  EXPECT_EQ(OrdersThatShow(kernel, RightResults(kernel)),
            static_cast<long>(kSchedules.size()));
}

TEST(Race, BarrierBeforeRefillingAStage) {
  ExpectFound([](bool is_whole, float* out) { Pipeline(true, is_whole, out); });
}

TEST(Race, BarriersDoNotOrderBlocks) {
  ExpectFound([](bool is_whole, float* out) {
    const int other = is_whole ? 0 : 1;
    *Out(out) = static_cast<float>(Thread());
    SyncBlock();
    // Of this block, or what block 1 may have written or not.
    if (blockIdx.x == 0) *Out(out) = out[other * kThreads + Thread()] + 1.0f;
  });
}

TEST(Race, AtomicsRaceWithNothingButPlainAccesses) {
  static int count;
  ExpectFound([](bool is_whole, float* out) {
    MLA_SHARED_MEMORY(memory);
    int* votes = reinterpret_cast<int*>(memory);
    if (Thread() == 0) *votes = 0;
    SyncBlock();
    AtomicAdd(votes, Thread());
    AtomicAdd(&count, 1);  // by all blocks
    if (is_whole) SyncBlock();
    *Out(out) = static_cast<float>(*votes);
  });
}

}  // namespace
}  // namespace mla::kernels::cuda

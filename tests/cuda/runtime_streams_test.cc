// The CUDA runtime's stand-ins: the order that streams and events make.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "cuda_host/control.h"

namespace {

using cuda_host::GetCounters;

class RuntimeStreams : public testing::Test {
 protected:
  RuntimeStreams() { cuda_host::ResetDevice(); }
  ~RuntimeStreams() override { cuda_host::ResetDevice(); }

  template <typename T>
  T* Device(size_t count) {
    T* p = nullptr;
    EXPECT_EQ(cudaMalloc(&p, count * sizeof(T)), cudaSuccess);
    return p;
  }
  template <typename T>
  T* Pinned(size_t count) {
    T* p = nullptr;
    EXPECT_EQ(cudaMallocHost(&p, count * sizeof(T)), cudaSuccess);
    return p;
  }
  cudaStream_t Stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStream_t s = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&s, flags), cudaSuccess);
    return s;
  }
  cudaEvent_t Event(unsigned flags = cudaEventDisableTiming) {
    cudaEvent_t e = nullptr;
    EXPECT_EQ(cudaEventCreateWithFlags(&e, flags), cudaSuccess);
    return e;
  }
  // Sets a pinned int to `value`, when it runs.
  void EnqueueSet(int* p, int value, cudaStream_t stream) {
    tasks_.push_back(std::make_unique<Task>(Task{p, value}));
    EXPECT_EQ(cudaLaunchHostFunc(
                  stream,
                  [](void* t) {
                    *static_cast<Task*>(t)->p = static_cast<Task*>(t)->value;
                  },
                  tasks_.back().get()),
              cudaSuccess);
  }

 private:
  struct Task {
    int* p;
    int value;
  };
  std::vector<std::unique_ptr<Task>> tasks_;
};

// ---- streams

TEST_F(RuntimeStreams, WorkWaitsUntilSomethingWaits) {
  cudaStream_t s = Stream();
  int* value = Pinned<int>(1);
  *value = 0;
  EnqueueSet(value, 1, s);
  EXPECT_EQ(*value, 0);
  EXPECT_EQ(GetCounters().pending_work, 1);
  EXPECT_EQ(cudaStreamSynchronize(s), cudaSuccess);
  EXPECT_EQ(*value, 1);
  EXPECT_EQ(GetCounters().pending_work, 0);
}

TEST_F(RuntimeStreams, QueriesLetTimePass) {
  cudaStream_t s = Stream();
  int* value = Pinned<int>(1);
  for (int i = 0; i < 100; ++i) EnqueueSet(value, i, s);
  EXPECT_EQ(cudaStreamQuery(s), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  int polls = 0;
  while (cudaStreamQuery(s) == cudaErrorNotReady) ++polls;
  EXPECT_GT(polls, 10);
  EXPECT_EQ(*value, 99);
}

// What two streams leave in one cell, over seeds.
TEST_F(RuntimeStreams, StreamsRunInAnyOrderUnlessAnEventOrdersThem) {
  for (bool ordered : {false, true}) {
    std::set<int> seen;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      cuda_host::ResetDevice();
      cuda_host::SetSeed(seed);
      cudaStream_t a = Stream(), b = Stream();
      cudaEvent_t e = Event();
      int* value = Pinned<int>(1);
      EnqueueSet(value, 1, a);
      cudaEventRecord(e, a);
      if (ordered) cudaStreamWaitEvent(b, e);
      EnqueueSet(value, 2, b);
      cudaDeviceSynchronize();
      seen.insert(*value);
    }
    EXPECT_EQ(seen, ordered ? std::set<int>{2} : (std::set<int>{1, 2}));
  }
}

TEST_F(RuntimeStreams, TheSameSeedGivesTheSameOrder) {
  auto run = [&](uint64_t seed) {
    cuda_host::ResetDevice();
    cuda_host::SetSeed(seed);
    std::vector<cudaStream_t> streams;
    int* value = Pinned<int>(1);
    for (int i = 0; i < 10; ++i) {
      streams.push_back(Stream());
      EnqueueSet(value, i, streams.back());
    }
    cudaDeviceSynchronize();
    return *value;
  };
  std::set<int> last;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(run(seed), run(seed));
    last.insert(run(seed));
  }
  EXPECT_GT(last.size(), 3u);
}

// Of ten other streams often none runs, and often some do.
TEST_F(RuntimeStreams, AWaitNeedNotRunOtherStreams) {
  int lazy = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    cuda_host::ResetDevice();
    cuda_host::SetSeed(seed);
    cudaStream_t s = Stream();
    int* values = Pinned<int>(2);
    values[1] = 0;
    EnqueueSet(&values[0], 1, s);
    for (int i = 0; i < 10; ++i) EnqueueSet(&values[1], 1, Stream());
    cudaStreamSynchronize(s);
    EXPECT_EQ(values[0], 1);
    lazy += values[1] == 0;
  }
  EXPECT_GE(lazy, 10);
  EXPECT_LE(lazy, 30);
}

TEST_F(RuntimeStreams, TheNullStreamOrdersBlockingStreams) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    cuda_host::ResetDevice();
    cuda_host::SetSeed(seed);
    cudaStream_t a = Stream(cudaStreamDefault), b = Stream(cudaStreamDefault);
    int* value = Pinned<int>(1);
    EnqueueSet(value, 1, a);
    EnqueueSet(value, 2, nullptr);
    EnqueueSet(value, 3, b);
    cudaStreamSynchronize(b);
    EXPECT_EQ(*value, 3);
    EnqueueSet(value, 4, a);
    cudaStreamSynchronize(nullptr);
    EXPECT_EQ(*value, 4);
  }
}

TEST_F(RuntimeStreams, WorkOutlivesItsStream) {
  cudaStream_t s = Stream();
  int* value = Pinned<int>(1);
  EnqueueSet(value, 1, s);
  EXPECT_EQ(cudaStreamDestroy(s), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(s), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamSynchronize(s), cudaErrorInvalidResourceHandle);
  cudaDeviceSynchronize();
  EXPECT_EQ(*value, 1);
  EXPECT_EQ(GetCounters().streams, 0);
}

TEST_F(RuntimeStreams, WorkMakesNoCalls) {
  static cudaError_t inside;
  cudaLaunchHostFunc(
      nullptr, [](void*) { inside = cudaDeviceSynchronize(); }, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(inside, cudaErrorNotPermitted);
}

// ---- events

TEST_F(RuntimeStreams, EventsComeWhenTheWorkBeforeThemHasRun) {
  cudaStream_t s = Stream();
  cudaEvent_t e = Event();
  EXPECT_EQ(cudaEventQuery(e), cudaSuccess);  // not recorded yet
  EXPECT_EQ(cudaEventSynchronize(e), cudaSuccess);
  int* value = Pinned<int>(1);
  EnqueueSet(value, 1, s);
  cudaEventRecord(e, s);
  EnqueueSet(value, 2, s);
  EXPECT_EQ(cudaEventSynchronize(e), cudaSuccess);
  EXPECT_EQ(*value, 1);
  EXPECT_EQ(cudaEventQuery(e), cudaSuccess);
  cudaStreamSynchronize(s);
  EXPECT_EQ(*value, 2);
}

TEST_F(RuntimeStreams, AWaitIsForTheLatestRecord) {
  cudaStream_t a = Stream(), b = Stream();
  cudaEvent_t e = Event();
  int* value = Pinned<int>(1);
  cudaEventRecord(e, a);
  EnqueueSet(value, 1, a);
  cudaEventRecord(e, a);
  cudaStreamWaitEvent(b, e);
  cudaStreamSynchronize(b);
  EXPECT_EQ(*value, 1);
}

TEST_F(RuntimeStreams, EventsTakeTimeIfTheyMay) {
  cudaStream_t s = Stream();
  cudaEvent_t begin = Event(cudaEventDefault), end = Event(cudaEventDefault);
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, begin, end),
            cudaErrorInvalidResourceHandle);
  cudaEventRecord(begin, s);
  cudaEventRecord(end, s);
  EXPECT_EQ(cudaEventElapsedTime(&ms, begin, end), cudaErrorNotReady);
  cudaEventSynchronize(end);
  EXPECT_EQ(cudaEventElapsedTime(&ms, begin, end), cudaSuccess);
  EXPECT_GE(ms, 0);
  cudaEvent_t untimed = Event(cudaEventDisableTiming);
  cudaEventRecord(untimed, s);
  cudaEventSynchronize(untimed);
  EXPECT_EQ(cudaEventElapsedTime(&ms, begin, untimed),
            cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeStreams, HandlesAreChecked) {
  cudaEvent_t e = Event();
  EXPECT_EQ(cudaEventDestroy(e), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(e), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(e, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamWaitEvent(nullptr, nullptr),
            cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventCreateWithFlags(&e, 8), cudaErrorInvalidValue);
  cudaStream_t s;
  EXPECT_EQ(cudaStreamCreateWithFlags(&s, 2), cudaErrorInvalidValue);
}

TEST_F(RuntimeStreams, EventsBelongToADevice) {
  cuda_host::SetDeviceCount(2);
  cudaEvent_t e = Event();
  cudaSetDevice(1);
  EXPECT_EQ(cudaEventRecord(e, Stream()), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeStreams, ManyThreadsMayCall) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      cudaStream_t s = Stream();
      int* p = Device<int>(1);
      int* host = Pinned<int>(1);
      for (int i = 0; i < 50; ++i) {
        *host = i;
        cudaMemcpyAsync(p, host, 4, cudaMemcpyHostToDevice, s);
        cudaStreamSynchronize(s);
        *host = -1;
        cudaMemcpyAsync(host, p, 4, cudaMemcpyDeviceToHost, s);
        cudaStreamSynchronize(s);
        EXPECT_EQ(*host, i);
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace

// The CUDA runtime's stand-ins: stream capture and graphs.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <thread>

#include "cuda_host/control.h"

namespace {

using cuda_host::GetCounters;
using cuda_host::LastMessage;
using testing::HasSubstr;

void Append(int* p, int digit) { *p = *p * 10 + digit; }
void Double(int* p, int) { *p *= 2; }

class RuntimeGraphs : public testing::Test {
 protected:
  RuntimeGraphs() { Reset(); }
  ~RuntimeGraphs() override { cuda_host::ResetDevice(); }

  void Reset(uint64_t seed = 1) {
    cuda_host::ResetDevice();
    cuda_host::SetSeed(seed);
    a_ = Stream();
    b_ = Stream();
    cudaEventCreateWithFlags(&fork_, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&join_, cudaEventDisableTiming);
    cudaMalloc(&p_, 16);
    cudaMemset(p_, 0, 16);
    cudaMallocHost(&pinned_, 16);
    cudaDeviceSynchronize();
  }
  static cudaStream_t Stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStream_t s = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&s, flags), cudaSuccess);
    return s;
  }
  cudaError_t Launch(cudaStream_t stream, int digit,
                     void (*kernel)(int*, int) = Append) {
    cudaLaunchConfig_t config = {};
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, p_, digit);
  }
  void Begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal) {
    ASSERT_EQ(cudaStreamBeginCapture(a_, mode), cudaSuccess);
  }
  cudaGraph_t End() {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(a_, &graph), cudaSuccess) << LastMessage();
    return graph;
  }
  // Ends a capture that must have been spoiled.
  void ExpectSpoiled() {
    cudaStreamCaptureStatus status;
    EXPECT_EQ(cudaStreamIsCapturing(a_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(Launch(a_, 1), cudaErrorStreamCaptureInvalidated);
    cudaGraph_t graph = reinterpret_cast<cudaGraph_t>(1);
    EXPECT_EQ(cudaStreamEndCapture(a_, &graph),
              cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(cudaStreamIsCapturing(a_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusNone);
    EXPECT_EQ(cudaStreamSynchronize(a_), cudaSuccess);
  }
  int Read() {
    int value = -1;
    EXPECT_EQ(cudaMemcpy(&value, p_, 4, cudaMemcpyDeviceToHost), cudaSuccess);
    return value;
  }

  cudaStream_t a_ = nullptr;
  cudaStream_t b_ = nullptr;
  cudaEvent_t fork_ = nullptr;
  cudaEvent_t join_ = nullptr;
  int* p_ = nullptr;
  int* pinned_ = nullptr;
};

TEST_F(RuntimeGraphs, ACaptureRecordsAndRunsNothing) {
  Begin();
  cudaStreamCaptureStatus status;
  EXPECT_EQ(cudaStreamIsCapturing(a_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  EXPECT_EQ(Launch(a_, 1), cudaSuccess);
  EXPECT_EQ(Launch(a_, 2), cudaSuccess);
  cudaGraph_t graph = End();
  size_t nodes = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 2u);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(Read(), 0);
  EXPECT_EQ(GetCounters().launches_enqueued, 0);
}

TEST_F(RuntimeGraphs, AGraphRunsAsOftenAsLaunched) {
  Begin();
  *pinned_ = 5;
  cudaMemcpyAsync(p_, pinned_, 4, cudaMemcpyHostToDevice, a_);
  Launch(a_, 1);
  Launch(a_, 2);
  cudaMemcpyAsync(pinned_ + 1, p_, 4, cudaMemcpyDeviceToHost, a_);
  cudaGraph_t graph = End();
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphUpload(exec, b_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, b_), cudaSuccess);
  EXPECT_EQ(GetCounters().launches_enqueued, 2);
  cudaStreamSynchronize(b_);
  EXPECT_EQ(pinned_[1], 512);
  *pinned_ = 6;  // read again, when it runs again
  ASSERT_EQ(cudaGraphLaunch(exec, a_), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);  // still runs
  EXPECT_EQ(cudaGraphLaunch(exec, a_), cudaErrorInvalidValue);
  cudaStreamSynchronize(a_);
  EXPECT_EQ(pinned_[1], 612);
  EXPECT_EQ(GetCounters().graph_launches, 2);
  EXPECT_EQ(GetCounters().launches_executed, 4);
  EXPECT_EQ(GetCounters().graphs, 0);
}

TEST_F(RuntimeGraphs, AGraphRunsInTheOrderOfItsStream) {
  Begin();
  Launch(a_, 2);
  cudaGraph_t graph = End();
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, graph);
  Launch(b_, 1);
  cudaGraphLaunch(exec, b_);
  Launch(b_, 3);
  cudaStreamSynchronize(b_);
  EXPECT_EQ(Read(), 123);
}

TEST_F(RuntimeGraphs, LaunchesOfOneGraphDoNotOverlap) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Reset(seed);
    Begin();
    Launch(a_, 1);
    Launch(a_, 2);
    cudaGraphExec_t exec;
    cudaGraphInstantiate(&exec, End());
    cudaGraphLaunch(exec, a_);
    cudaGraphLaunch(exec, b_);
    cudaDeviceSynchronize();
    EXPECT_EQ(Read(), 1212);
  }
}

TEST_F(RuntimeGraphs, StreamsJoinACaptureByEvents) {
  std::set<int> seen;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Reset(seed);
    Begin();
    Launch(a_, 1);
    cudaEventRecord(fork_, a_);
    EXPECT_EQ(cudaStreamWaitEvent(b_, fork_), cudaSuccess);
    Launch(a_, 2);
    Launch(b_, 3);
    cudaEventRecord(join_, b_);
    EXPECT_EQ(cudaStreamWaitEvent(a_, join_), cudaSuccess);
    Launch(a_, 4);
    cudaGraph_t graph = End();
    cudaStreamCaptureStatus status;
    cudaStreamIsCapturing(b_, &status);
    EXPECT_EQ(status, cudaStreamCaptureStatusNone);
    cudaGraphExec_t exec;
    cudaGraphInstantiate(&exec, graph);
    cudaGraphLaunch(exec, a_);
    cudaDeviceSynchronize();
    seen.insert(Read());
  }
  EXPECT_EQ(seen, (std::set<int>{1234, 1324}));
}

TEST_F(RuntimeGraphs, UnjoinedWorkIsRefused) {
  Begin();
  cudaEventRecord(fork_, a_);
  cudaStreamWaitEvent(b_, fork_);
  Launch(b_, 3);
  cudaGraph_t graph;
  EXPECT_EQ(cudaStreamEndCapture(b_, &graph), cudaErrorStreamCaptureUnmatched);
  Reset();
  Begin();
  cudaEventRecord(fork_, a_);
  cudaStreamWaitEvent(b_, fork_);
  Launch(b_, 3);
  EXPECT_EQ(cudaStreamEndCapture(a_, &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
}

TEST_F(RuntimeGraphs, AnUpdateTakesNewArguments) {
  Begin();
  Launch(a_, 1);
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, End());
  Begin();
  Launch(a_, 2);
  cudaGraphExecUpdateResultInfo info;
  EXPECT_EQ(cudaGraphExecUpdate(exec, End(), &info), cudaSuccess);
  EXPECT_EQ(info.result, cudaGraphExecUpdateSuccess);
  cudaGraphLaunch(exec, a_);
  cudaDeviceSynchronize();
  EXPECT_EQ(Read(), 2);
  Begin();
  Launch(a_, 2, Double);
  EXPECT_EQ(cudaGraphExecUpdate(exec, End(), &info),
            cudaErrorGraphExecUpdateFailure);
  EXPECT_EQ(info.result, cudaGraphExecUpdateErrorFunctionChanged);
  Begin();
  Launch(a_, 2);
  Launch(a_, 2);
  EXPECT_EQ(cudaGraphExecUpdate(exec, End(), &info),
            cudaErrorGraphExecUpdateFailure);
  EXPECT_EQ(info.result, cudaGraphExecUpdateErrorTopologyChanged);
  Begin();
  cudaMemsetAsync(p_, 0, 4, a_);
  EXPECT_EQ(cudaGraphExecUpdate(exec, End(), &info),
            cudaErrorGraphExecUpdateFailure);
  EXPECT_EQ(info.result, cudaGraphExecUpdateErrorNodeTypeChanged);
}

TEST_F(RuntimeGraphs, MemoryThatAGraphNamesMustBeThereWhenItRuns) {
  void* q = nullptr;
  cudaMalloc(&q, 16);
  Begin();
  cudaMemsetAsync(q, 0, 16, a_);
  cudaGraphExec_t exec;
  cudaGraphInstantiate(&exec, End());
  cudaFree(q);
  EXPECT_EQ(cudaGraphLaunch(exec, a_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(a_), cudaErrorIllegalAddress);
}

// ---- what a capture forbids

TEST_F(RuntimeGraphs, WaitsSpoilACapture) {
  for (int i = 0; i < 4; ++i) {
    Reset();
    Begin();
    cudaEventRecord(fork_, a_);
    int host = 0;
    cudaError_t code = cudaSuccess;
    if (i == 0) code = cudaStreamSynchronize(a_);
    if (i == 1) code = cudaDeviceSynchronize();
    if (i == 2) code = cudaStreamQuery(a_);
    if (i == 3) code = cudaMemcpy(&host, p_, 4, cudaMemcpyDeviceToHost);
    EXPECT_EQ(code, cudaErrorStreamCaptureUnsupported) << i;
    ExpectSpoiled();
  }
  for (bool query : {false, true}) {
    Reset();
    Begin();
    cudaEventRecord(fork_, a_);
    EXPECT_EQ(query ? cudaEventQuery(fork_) : cudaEventSynchronize(fork_),
              cudaErrorCapturedEvent);
    ExpectSpoiled();
    EXPECT_EQ(cudaEventSynchronize(fork_), cudaErrorCapturedEvent);
    cudaEventRecord(fork_, a_);
    EXPECT_EQ(cudaEventSynchronize(fork_), cudaSuccess);
  }
}

TEST_F(RuntimeGraphs, AllocationSpoilsACapture) {
  for (int i = 0; i < 5; ++i) {
    Reset();
    void* q = nullptr;
    cudaMalloc(&q, 16);
    Begin();
    cudaError_t code = cudaSuccess;
    if (i == 0) code = cudaMalloc(&q, 16);
    if (i == 1) code = cudaFree(q);
    if (i == 2) code = cudaMallocHost(&q, 16);
    if (i == 3) code = cudaFreeHost(pinned_);
    if (i == 4) code = cudaMallocAsync(&q, 16, a_);
    EXPECT_EQ(code, cudaErrorStreamCaptureUnsupported) << i;
    ExpectSpoiled();
  }
}

TEST_F(RuntimeGraphs, ARelaxedCaptureLetsMemoryBeAllocated) {
  Begin(cudaStreamCaptureModeRelaxed);
  void* q = nullptr;
  EXPECT_EQ(cudaMalloc(&q, 16), cudaSuccess);
  EXPECT_EQ(cudaFree(q), cudaSuccess);
  End();
  Begin(cudaStreamCaptureModeThreadLocal);
  std::thread([] {
    void* other = nullptr;
    EXPECT_EQ(cudaMalloc(&other, 16), cudaSuccess);
  }).join();
  End();
  Begin(cudaStreamCaptureModeGlobal);
  std::thread([] {
    void* other = nullptr;
    EXPECT_EQ(cudaMalloc(&other, 16), cudaErrorStreamCaptureUnsupported);
  }).join();
  ExpectSpoiled();
}

TEST_F(RuntimeGraphs, OtherStreamsGoOnMeanwhile) {
  Begin();
  Launch(a_, 1);
  Launch(b_, 2);
  EXPECT_EQ(cudaStreamSynchronize(b_), cudaSuccess);
  End();
  EXPECT_EQ(Read(), 2);
}

TEST_F(RuntimeGraphs, TheNullStreamIsOutWhileABlockingStreamIsCaptured) {
  a_ = Stream(cudaStreamDefault);
  Begin();
  EXPECT_EQ(Launch(nullptr, 1), cudaErrorStreamCaptureImplicit);
  ExpectSpoiled();
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal),
            cudaErrorStreamCaptureUnsupported);
}

TEST_F(RuntimeGraphs, PageableMemoryIsNotCaptured) {
  int host = 0;
  Begin();
  EXPECT_EQ(cudaMemcpyAsync(p_, &host, 4, cudaMemcpyHostToDevice, a_),
            cudaErrorStreamCaptureUnsupported);
  ExpectSpoiled();
}

TEST_F(RuntimeGraphs, CapturesAreClosedToEventsFromOutside) {
  cudaEventRecord(fork_, b_);
  Begin();
  EXPECT_EQ(cudaStreamWaitEvent(a_, fork_), cudaErrorStreamCaptureIsolation);
  ExpectSpoiled();
  cudaStreamBeginCapture(b_, cudaStreamCaptureModeGlobal);
  cudaEventRecord(fork_, b_);
  Begin();
  EXPECT_EQ(cudaStreamWaitEvent(a_, fork_), cudaErrorStreamCaptureMerge);
  ExpectSpoiled();
}

TEST_F(RuntimeGraphs, CapturesBeginAndEndInPairs) {
  cudaGraph_t graph;
  EXPECT_EQ(cudaStreamEndCapture(a_, &graph), cudaErrorIllegalState);
  Begin();
  EXPECT_EQ(cudaStreamBeginCapture(a_, cudaStreamCaptureModeGlobal),
            cudaErrorIllegalState);
  std::thread([&] {
    EXPECT_EQ(cudaStreamEndCapture(a_, &graph),
              cudaErrorStreamCaptureWrongThread);
  }).join();
  EXPECT_EQ(cudaStreamDestroy(a_), cudaErrorStreamCaptureUnsupported);
  ExpectSpoiled();
}

}  // namespace

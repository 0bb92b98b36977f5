// NCCL's stand-in: what ranks gather, when, and what it does not let pass.
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <deque>
#include <thread>
#include <vector>

#include "cuda_host/control.h"

namespace {

constexpr int kRanks = 3;
constexpr int kCount = 5;

class NcclStandin : public testing::Test {
 protected:
  struct Rank {
    cudaStream_t stream = nullptr;
    ncclComm_t comm = nullptr;
    float* from = nullptr;
    float* to = nullptr;
  };

  NcclStandin() {
    cuda_host::ResetDevice();
    cuda_host::SetDeviceCount(kRanks);
    int devices[kRanks];
    ncclComm_t comms[kRanks];
    for (int r = 0; r < kRanks; ++r) devices[r] = r;
    EXPECT_EQ(ncclCommInitAll(comms, kRanks, devices), ncclSuccess);
    for (int r = 0; r < kRanks; ++r) {
      Rank& rank = ranks_[r];
      rank.comm = comms[r];
      cudaSetDevice(r);
      cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking);
      cudaMalloc(&rank.from, kCount * sizeof(float));
      cudaMalloc(&rank.to, kRanks * kCount * sizeof(float));
      Fill(r, 10.0f * r);
    }
  }
  ~NcclStandin() override {
    for (Rank& rank : ranks_) {
      if (rank.comm != nullptr) ncclCommDestroy(rank.comm);
    }
    cuda_host::ResetDevice();
  }

  // On the rank's stream: `first`, `first` + 1, ...
  void Fill(int r, float first) {
    std::vector<float>& values = filled_.emplace_back();
    for (int i = 0; i < kCount; ++i) values.push_back(first + i);
    cudaMemcpyAsync(ranks_[r].from, values.data(), kCount * sizeof(float),
                    cudaMemcpyHostToDevice, ranks_[r].stream);
  }
  ncclResult_t Gather(int r, size_t count = kCount) {
    cudaSetDevice(r);
    return ncclAllGather(ranks_[r].from, ranks_[r].to, count, ncclFloat,
                         ranks_[r].comm, ranks_[r].stream);
  }
  std::vector<float> Received(int r) {
    std::vector<float> values(kRanks * kCount);
    cudaMemcpy(values.data(), ranks_[r].to, values.size() * sizeof(float),
               cudaMemcpyDeviceToHost);
    return values;
  }
  std::vector<float> Expected(float more = 0) const {
    std::vector<float> values;
    for (int r = 0; r < kRanks; ++r) {
      for (int i = 0; i < kCount; ++i) values.push_back(10.0f * r + i + more);
    }
    return values;
  }

  Rank ranks_[kRanks];
  std::deque<std::vector<float>> filled_;  // copied when the stream gets there
};

TEST_F(NcclStandin, AllHaveWhatAllSent) {
  for (int r = 0; r < kRanks; ++r) EXPECT_EQ(Gather(r), ncclSuccess);
  for (int r = 0; r < kRanks; ++r) {
    // What is overwritten behind the call was sent before.
    Fill(r, -1);
    EXPECT_EQ(cudaStreamSynchronize(ranks_[r].stream), cudaSuccess);
  }
  for (int r = 0; r < kRanks; ++r) EXPECT_EQ(Received(r), Expected());
}

TEST_F(NcclStandin, AStreamWaitsUntilTheLastHasCome) {
  for (int r = 0; r + 1 < kRanks; ++r) EXPECT_EQ(Gather(r), ncclSuccess);
  for (int times = 0; times < 100; ++times) {
    EXPECT_EQ(cudaStreamQuery(ranks_[0].stream), cudaErrorNotReady);
  }
  std::thread last([&] { Gather(kRanks - 1); });
  EXPECT_EQ(cudaStreamSynchronize(ranks_[0].stream), cudaSuccess);
  last.join();
  EXPECT_EQ(Received(0), Expected());
}

TEST_F(NcclStandin, RecordedItGathersAtEachLaunch) {
  cudaGraphExec_t exec[kRanks];
  for (int r = 0; r < kRanks; ++r) {
    cudaSetDevice(r);
    ASSERT_EQ(cudaStreamBeginCapture(ranks_[r].stream,
                                     cudaStreamCaptureModeThreadLocal),
              cudaSuccess);
    EXPECT_EQ(Gather(r), ncclSuccess);
    cudaGraph_t graph = nullptr;
    ASSERT_EQ(cudaStreamEndCapture(ranks_[r].stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&exec[r], graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
  }
  for (const float more : {0.0f, 100.0f, 200.0f}) {
    for (int r = 0; r < kRanks; ++r) {
      Fill(r, 10.0f * r + more);
      EXPECT_EQ(cudaGraphLaunch(exec[r], ranks_[r].stream), cudaSuccess);
    }
    for (int r = 0; r < kRanks; ++r) {
      EXPECT_EQ(cudaStreamSynchronize(ranks_[r].stream), cudaSuccess);
      EXPECT_EQ(Received(r), Expected(more));
    }
  }
  for (cudaGraphExec_t graph : exec) cudaGraphExecDestroy(graph);
}

TEST_F(NcclStandin, UnequalCallsFail) {
  for (int r = 0; r < kRanks; ++r) Gather(r, r == 1 ? kCount - 1 : kCount);
  cudaError_t worst = cudaSuccess;
  for (int r = 0; r < kRanks && worst == cudaSuccess; ++r) {
    cudaSetDevice(r);
    worst = cudaStreamQuery(ranks_[r].stream);
    if (worst == cudaErrorNotReady) worst = cudaSuccess;
    r = worst == cudaSuccess && r + 1 == kRanks ? -1 : r;
  }
  EXPECT_EQ(worst, cudaErrorLaunchFailure);
  EXPECT_NE(cuda_host::LastKernelError().find("rank 1 gathers 4, rank 0 5"),
            std::string::npos)
      << cuda_host::LastKernelError();
}

TEST_F(NcclStandin, AnAbortEndsWhatWaits) {
  EXPECT_EQ(Gather(0), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(ranks_[0].stream), cudaErrorNotReady);
  EXPECT_EQ(ncclCommAbort(ranks_[0].comm), ncclSuccess);
  EXPECT_EQ(cudaStreamSynchronize(ranks_[0].stream), cudaSuccess);
  EXPECT_EQ(Gather(0), ncclInvalidArgument);
  ranks_[0].comm = nullptr;
}

TEST_F(NcclStandin, MemoryAndStreamsAreTheCommunicatorsDevices) {
  cudaSetDevice(1);
  EXPECT_EQ(ncclAllGather(ranks_[0].from, ranks_[1].to, kCount, ncclFloat,
                          ranks_[1].comm, ranks_[1].stream),
            ncclInvalidArgument);
  EXPECT_EQ(ncclAllGather(ranks_[1].from, ranks_[1].to, kCount, ncclFloat,
                          ranks_[1].comm, ranks_[0].stream),
            ncclInvalidArgument);
  cudaSetDevice(0);
  EXPECT_EQ(ncclAllGather(ranks_[1].from, ranks_[1].to, kCount, ncclFloat,
                          ranks_[1].comm, ranks_[1].stream),
            ncclInvalidArgument);
}

// What one device dies of, the others do not.
TEST_F(NcclStandin, ADeadDeviceLeavesTheOthersAlive) {
  cudaSetDevice(2);
  cuda_host::FailCall(1, cudaErrorIllegalAddress, "cudaMemcpyAsync");
  Fill(2, 0);
  EXPECT_EQ(cudaStreamSynchronize(ranks_[2].stream), cudaErrorIllegalAddress);
  cudaSetDevice(0);
  Fill(0, 7);
  EXPECT_EQ(cudaStreamSynchronize(ranks_[0].stream), cudaSuccess);
  EXPECT_EQ(Gather(0), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(ranks_[0].stream), cudaErrorNotReady);
}

}  // namespace

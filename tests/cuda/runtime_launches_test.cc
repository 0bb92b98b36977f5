// The CUDA runtime's stand-ins: launches of kernels, and how they fail.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/engine.h"

namespace {

using cuda_host::GetCounters;
using cuda_host::LastKernelError;
using cuda_host::LastMessage;
using testing::HasSubstr;

void AddOne(int* p) { __atomic_fetch_add(p, 1, __ATOMIC_RELAXED); }

template <typename T>
void Fill(T* p, T value, int n) {
  for (int i = 0; i < n; ++i) p[i] = value;
}

void Throw() { throw cuda_host::Error("divergent barrier"); }

struct Args {
  const float* in;
  int rows;
  int cols;
  float* out;
};
void TakeStruct(Args) {}

class RuntimeLaunches : public testing::Test {
 protected:
  RuntimeLaunches() { cuda_host::ResetDevice(); }
  ~RuntimeLaunches() override { cuda_host::ResetDevice(); }

  static cudaLaunchConfig_t Config(dim3 grid = 1, dim3 block = 1,
                                   size_t shared = 0) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    return config;
  }
  template <typename T>
  T* Device(size_t count) {
    T* p = nullptr;
    EXPECT_EQ(cudaMalloc(&p, count * sizeof(T)), cudaSuccess);
    EXPECT_EQ(cudaMemset(p, 0, count * sizeof(T)), cudaSuccess);
    return p;
  }
  static int Read(const int* p) {
    int value = -1;
    EXPECT_EQ(cudaMemcpy(&value, p, 4, cudaMemcpyDeviceToHost), cudaSuccess);
    return value;
  }
};

TEST_F(RuntimeLaunches, AKernelRunsWithItsArgumentsOfTheLaunch) {
  int* p = Device<int>(4);
  cudaLaunchConfig_t config = Config();
  int value = 7;
  ASSERT_EQ(cudaLaunchKernelEx(&config, Fill<int>, p, value, 4), cudaSuccess);
  value = 8;
  EXPECT_EQ(GetCounters().launches_enqueued, 1);
  EXPECT_EQ(GetCounters().launches_executed, 0);
  EXPECT_EQ(Read(p + 3), 7);
  EXPECT_EQ(GetCounters().launches_executed, 1);
}

TEST_F(RuntimeLaunches, EveryThreadOfTheGridRuns) {
  int* p = Device<int>(1);
  cudaLaunchConfig_t config = Config({3, 2, 1}, {4, 2, 2});
  ASSERT_EQ(cudaLaunchKernelEx(&config, AddOne, p), cudaSuccess);
  EXPECT_EQ(Read(p), 6 * 16);
}

TEST_F(RuntimeLaunches, KernelsAreCountedByName) {
  int* p = Device<int>(1);
  cudaLaunchConfig_t config = Config();
  cudaLaunchKernelEx(&config, AddOne, p);
  cudaLaunchKernelEx(&config, AddOne, p);
  cudaLaunchKernelEx(&config, Fill<int>, p, 1, 1);
  EXPECT_EQ(cuda_host::ExecutedLaunches("AddOne"), 0);
  cudaDeviceSynchronize();
  EXPECT_EQ(cuda_host::ExecutedLaunches("AddOne"), 2);
  const std::vector<cuda_host::KernelCount> kernels = cuda_host::Kernels();
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_THAT(kernels[0].name, HasSubstr("AddOne(int*)"));
  EXPECT_EQ(kernels[0].enqueued, 2);
  EXPECT_THAT(kernels[1].name, HasSubstr("Fill<int>(int*, int, int)"));
  EXPECT_EQ(kernels[1].executed, 1);
}

TEST_F(RuntimeLaunches, GridsAndBlocksHaveLimits) {
  int* p = Device<int>(1);
  auto launch = [&](dim3 grid, dim3 block) {
    cudaLaunchConfig_t config = Config(grid, block);
    return cudaLaunchKernelEx(&config, AddOne, p);
  };
  EXPECT_EQ(launch(0, 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, 1025), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, dim3(32, 33)), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(1, dim3(1, 1, 65)), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 65536), 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(dim3(1, 1, 65536), 1), cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch(2147483648u, 1), cudaErrorInvalidConfiguration);
  EXPECT_THAT(LastMessage(), HasSubstr("AddOne"));
  EXPECT_EQ(launch(1, 1024), cudaSuccess);
  EXPECT_EQ(launch(1, dim3(4, 4, 64)), cudaSuccess);
  EXPECT_EQ(GetCounters().launches_enqueued, 2);
}

TEST_F(RuntimeLaunches, MoreSharedMemoryMustBeAskedFor) {
  int* p = Device<int>(1);
  auto launch = [&](size_t shared) {
    cudaLaunchConfig_t config = Config(1, 1, shared);
    return cudaLaunchKernelEx(&config, AddOne, p);
  };
  EXPECT_EQ(launch(48 * 1024), cudaSuccess);
  EXPECT_EQ(launch(48 * 1024 + 1), cudaErrorInvalidValue);
  EXPECT_THAT(LastMessage(), HasSubstr("cudaFuncSetAttribute"));
  constexpr auto kAttribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  EXPECT_EQ(cudaFuncSetAttribute(AddOne, kAttribute, 227 * 1024 + 1),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(AddOne, kAttribute, 100 * 1024), cudaSuccess);
  EXPECT_EQ(launch(100 * 1024), cudaSuccess);
  EXPECT_EQ(launch(100 * 1024 + 1), cudaErrorInvalidValue);
  // Of that kernel only.
  cudaLaunchConfig_t config = Config(1, 1, 64 * 1024);
  EXPECT_EQ(cudaLaunchKernelEx(&config, Throw), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(AddOne, kAttribute, 227 * 1024), cudaSuccess);
  EXPECT_EQ(launch(227 * 1024), cudaSuccess);
  EXPECT_EQ(launch(227 * 1024 + 1), cudaErrorInvalidValue);
}

TEST_F(RuntimeLaunches, AttributesThatChangeTheMeaningAreRefused) {
  int* p = Device<int>(1);
  cudaLaunchAttribute attribute = {};
  cudaLaunchConfig_t config = Config();
  config.attrs = &attribute;
  config.numAttrs = 1;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  EXPECT_EQ(cudaLaunchKernelEx(&config, AddOne, p), cudaSuccess);
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = 2;
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  EXPECT_EQ(cudaLaunchKernelEx(&config, AddOne, p), cudaErrorNotSupported);
}

TEST_F(RuntimeLaunches, StreamsOfAnotherDeviceTakeNoLaunch) {
  cuda_host::SetDeviceCount(2);
  cudaStream_t s;
  cudaStreamCreate(&s);
  cudaSetDevice(1);
  cudaLaunchConfig_t config = Config();
  config.stream = s;
  EXPECT_EQ(cudaLaunchKernelEx(&config, Throw), cudaErrorInvalidResourceHandle);
}

// ---- failures

TEST_F(RuntimeLaunches, AFailedKernelFailsTheContext) {
  cudaLaunchConfig_t config = Config();
  int* p = Device<int>(1);
  EXPECT_EQ(cudaLaunchKernelEx(&config, Throw), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_THAT(LastKernelError(), HasSubstr("Throw"));
  EXPECT_THAT(LastKernelError(), HasSubstr("divergent barrier"));
  EXPECT_EQ(cudaLaunchKernelEx(&config, AddOne, p), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaFree(p), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(GetCounters().pending_work, 0);
  cuda_host::ResetDevice();
  EXPECT_EQ(LastKernelError(), "");
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(RuntimeLaunches, WhatComesAfterAFailureDoesNotRun) {
  cudaLaunchConfig_t config = Config();
  int* p = Device<int>(1);
  cudaDeviceSynchronize();
  cudaLaunchKernelEx(&config, Throw);
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaErrorLaunchFailure);
  EXPECT_EQ(cuda_host::ExecutedLaunches("AddOne"), 0);
}

TEST_F(RuntimeLaunches, FailuresCanBeAskedFor) {
  cudaLaunchConfig_t config = Config();
  int* p = Device<int>(1);
  cuda_host::FailLaunch(2, cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaLaunchKernelEx(&config, AddOne, p), cudaSuccess);
  EXPECT_EQ(cudaLaunchKernelEx(&config, AddOne, p),
            cudaErrorLaunchOutOfResources);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(Read(p), 1);
  cuda_host::FailKernel(2);
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_EQ(Read(p), 2);
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
}

// ---- arguments

TEST_F(RuntimeLaunches, PointersToTheHeapOrStackAreIllegal) {
  std::vector<int> heap(1);
  cudaLaunchConfig_t config = Config();
  cudaLaunchKernelEx(&config, AddOne, heap.data());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_THAT(LastKernelError(),
              HasSubstr("argument 0 is the address of memory of the host"));
}

TEST_F(RuntimeLaunches, PointersToFreedMemoryAreIllegal) {
  int* p = Device<int>(1);
  cudaFree(p);
  cudaLaunchConfig_t config = Config();
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_THAT(LastKernelError(), HasSubstr("freed device allocation 1"));
}

TEST_F(RuntimeLaunches, StructsAreSearchedForPointers) {
  float host = 0;
  cudaLaunchConfig_t config = Config();
  // Behind the end is a pointer's due; small numbers are no addresses.
  Args args = {Device<float>(4) + 4, 1 << 30, 32767, nullptr};
  cudaLaunchKernelEx(&config, TakeStruct, args);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << LastKernelError();
  args.out = &host;
  cudaLaunchKernelEx(&config, TakeStruct, args);
  if (cuda_host::kClearsPadding) {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    EXPECT_THAT(LastKernelError(), HasSubstr("argument 0, at byte 16"));
  } else {  // what lies between members would look like addresses
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  cuda_host::ResetDevice();
  cuda_host::SetArgumentCheck(false);
  cudaLaunchKernelEx(&config, TakeStruct, args);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(RuntimeLaunches, KernelsReachPinnedMemory) {
  int* p = nullptr;
  cudaMallocHost(&p, 4);
  *p = 1;
  cudaLaunchConfig_t config = Config();
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(*p, 2);
}

// ---- memory beside allocations

using RuntimeLaunchesDeathTest = RuntimeLaunches;

TEST_F(RuntimeLaunchesDeathTest, AWriteBesideAnAllocationIsFound) {
  auto write = [&](int at) {
    int* p = Device<int>(3);
    cudaLaunchConfig_t config = Config();
    cudaLaunchKernelEx(&config, AddOne, p + at);
    const cudaError_t code = cudaDeviceSynchronize();
    fprintf(stderr, "%s\n", LastKernelError().c_str());
    _exit(code == cudaErrorIllegalAddress ? 1 : 0);
  };
  cuda_host::SetArgumentCheck(false);
  EXPECT_DEATH(write(3), "wrote at device allocation 1|use-after-poison");
  EXPECT_DEATH(write(-1), "wrote at device allocation 1|use-after-poison");
  EXPECT_DEATH(write(1024), "touched device allocation 1|use-after-poison");
}

TEST_F(RuntimeLaunchesDeathTest, FreedMemoryIsOutOfAKernelsReach) {
  int* p = Device<int>(3);
  cudaFree(p);
  cuda_host::SetArgumentCheck(false);
  cudaLaunchConfig_t config = Config();
  cudaLaunchKernelEx(&config, AddOne, p);
  EXPECT_DEATH(
      cudaDeviceSynchronize(),
      "work of a stream touched freed device allocation|use-after-poison");
}

}  // namespace

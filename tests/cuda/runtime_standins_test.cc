// The CUDA runtime's stand-ins: devices, memory and copies. See
// runtime_streams_test.cc, runtime_launches_test.cc, runtime_graphs_test.cc
// too.
#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "cuda_host/control.h"

namespace {

using cuda_host::GetCounters;
using cuda_host::LastMessage;
using testing::HasSubstr;

class RuntimeStandins : public testing::Test {
 protected:
  RuntimeStandins() { cuda_host::ResetDevice(); }
  ~RuntimeStandins() override { cuda_host::ResetDevice(); }

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
};

// ---- devices

TEST_F(RuntimeStandins, WithoutADeviceEveryCallSaysSo) {
  cuda_host::SetDeviceCount(0);
  int n = -1;
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaErrorNoDevice);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, 16), cudaErrorNoDevice);
  EXPECT_EQ(cudaSetDevice(0), cudaErrorNoDevice);
  EXPECT_EQ(cudaRuntimeGetVersion(&n), cudaSuccess);
  EXPECT_GE(n, 12000);
  EXPECT_EQ(cudaDriverGetVersion(&n), cudaSuccess);
  EXPECT_EQ(n, 0);
}

TEST_F(RuntimeStandins, DevicesAreDescribedAsHopper) {
  cuda_host::SetDeviceCount(2);
  cuda_host::SetDeviceMemory(size_t{1} << 30);
  int n = 0;
  ASSERT_EQ(cudaGetDeviceCount(&n), cudaSuccess);
  EXPECT_EQ(n, 2);
  cudaDeviceProp p;
  ASSERT_EQ(cudaGetDeviceProperties(&p, 1), cudaSuccess);
  EXPECT_STRNE(p.name, "");
  EXPECT_EQ(p.major, 9);
  EXPECT_EQ(p.minor, 0);
  EXPECT_EQ(p.multiProcessorCount, 4);
  EXPECT_EQ(p.totalGlobalMem, size_t{1} << 30);
  EXPECT_EQ(p.sharedMemPerBlockOptin, 227u * 1024);
  int optin = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&optin,
                                   cudaDevAttrMaxSharedMemoryPerBlockOptin, 0),
            cudaSuccess);
  EXPECT_EQ(optin, 227 * 1024);
  EXPECT_EQ(cudaGetDeviceProperties(&p, 2), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
}

TEST_F(RuntimeStandins, EachThreadHasItsDevice) {
  cuda_host::SetDeviceCount(2);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  int device = -1;
  std::thread([&] { cudaGetDevice(&device); }).join();
  EXPECT_EQ(device, 0);
  cudaGetDevice(&device);
  EXPECT_EQ(device, 1);
}

TEST_F(RuntimeStandins, MemoryOfDevicesIsApart) {
  cuda_host::SetDeviceCount(2);
  cuda_host::SetDeviceMemory(1024);
  Device<char>(1024);
  size_t free = 1, total = 0;
  cudaMemGetInfo(&free, &total);
  EXPECT_EQ(free, 0u);
  EXPECT_EQ(total, 1024u);
  cudaSetDevice(1);
  cudaMemGetInfo(&free, &total);
  EXPECT_EQ(free, 1024u);
}

// ---- errors

TEST_F(RuntimeStandins, LastErrorIsKeptUntilItIsRead) {
  EXPECT_EQ(cudaFree(reinterpret_cast<void*>(16)), cudaErrorInvalidValue);
  int n = 0;
  EXPECT_EQ(cudaGetDeviceCount(&n), cudaSuccess);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(RuntimeStandins, ErrorsHaveNames) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation),
               "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(1023)),
               "unrecognized error code");
}

TEST_F(RuntimeStandins, AnyCallCanBeMadeToFail) {
  cuda_host::FailCall(2, cudaErrorMemoryAllocation, "cudaMalloc");
  void* a = nullptr;
  void* b = nullptr;
  EXPECT_EQ(cudaMalloc(&a, 16), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&b, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(cudaMalloc(&b, 16), cudaSuccess);
  cuda_host::FailCall(1, cudaErrorUnknown);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorUnknown);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  cuda_host::FailCall(1, cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaFree(a), cudaErrorECCUncorrectable);
}

// ---- allocation

TEST_F(RuntimeStandins, MemoryIsAlignedAndBeginsAsNaN) {
  for (size_t bytes : {1, 255, 256, 257, 5000}) {
    char* p = Device<char>(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0u);
    std::vector<unsigned char> host(bytes);
    ASSERT_EQ(cudaMemcpy(host.data(), p, bytes, cudaMemcpyDeviceToHost),
              cudaSuccess);
    EXPECT_THAT(host, testing::Each(0xFF));
  }
}

TEST_F(RuntimeStandins, LargeMemoryIsSparseAndBeginsAsNaN) {
  const size_t bytes = (size_t{5} << 30) + 12345;
  char* p = Device<char>(bytes);
  for (size_t at : {size_t{0}, size_t{1} << 24, bytes / 2, bytes - 1}) {
    unsigned char byte = 0;
    ASSERT_EQ(cudaMemcpy(&byte, p + at, 1, cudaMemcpyDeviceToHost),
              cudaSuccess);
    EXPECT_EQ(byte, 0xFF);
  }
  EXPECT_EQ(cudaMemset(p + bytes - 8, 0, 8), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

TEST_F(RuntimeStandins, NothingIsNullAndFreesToo) {
  void* p = reinterpret_cast<void*>(1);
  EXPECT_EQ(cudaMalloc(&p, 0), cudaSuccess);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(nullptr), cudaSuccess);
}

TEST_F(RuntimeStandins, MemoryRunsOutAtTheTotal) {
  cuda_host::SetDeviceMemory(1 << 20);
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, (1 << 20) + 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(p, nullptr);
  EXPECT_THAT(LastMessage(), HasSubstr("not to be had"));
  char* a = Device<char>(1 << 19);
  EXPECT_EQ(cudaMalloc(&p, 1 << 19), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(a), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&p, 1), cudaSuccess);
  EXPECT_EQ(GetCounters().device_allocations, 2);
  EXPECT_EQ(GetCounters().device_bytes, (1 << 19) + 256);
}

TEST_F(RuntimeStandins, FreeTakesTheBeginningOnceOfItsKind) {
  char* p = Device<char>(512);
  char* pinned = Pinned<char>(512);
  EXPECT_EQ(cudaFree(p + 256), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(p), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(cudaFree(p), cudaErrorInvalidValue);
  EXPECT_THAT(LastMessage(), HasSubstr("freed device allocation"));
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(RuntimeStandins, FreeWaitsForTheDevice) {
  cudaStream_t s = Stream();
  char* p = Device<char>(16);
  cudaMemsetAsync(p, 1, 16, s);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(GetCounters().pending_work, 0);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(RuntimeStandins, PointersAreKnownByKind) {
  cudaPointerAttributes a;
  char* p = Device<char>(16);
  ASSERT_EQ(cudaPointerGetAttributes(&a, p + 15), cudaSuccess);
  EXPECT_EQ(a.type, cudaMemoryTypeDevice);
  ASSERT_EQ(cudaPointerGetAttributes(&a, Pinned<char>(16)), cudaSuccess);
  EXPECT_EQ(a.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&a, &a), cudaSuccess);
  EXPECT_EQ(a.type, cudaMemoryTypeUnregistered);
}

// ---- allocation in stream order

TEST_F(RuntimeStandins, StreamOrderedMemoryLivesInItsStream) {
  cudaStream_t s = Stream();
  int* p = nullptr;
  ASSERT_EQ(cudaMallocAsync(&p, 4, s), cudaSuccess);
  int* host = Pinned<int>(1);
  cudaMemsetAsync(p, 0, 4, s);
  cudaMemcpyAsync(host, p, 4, cudaMemcpyDeviceToHost, s);
  ASSERT_EQ(cudaFreeAsync(p, s), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(p, s), cudaErrorInvalidValue);
  EXPECT_EQ(cudaStreamSynchronize(s), cudaSuccess);
  EXPECT_EQ(*host, 0);
  EXPECT_EQ(GetCounters().device_allocations, 0);
}

TEST_F(RuntimeStandins, UseAfterAStreamOrderedFreeIsFatal) {
  for (bool copy : {false, true}) {
    cuda_host::ResetDevice();
    cudaStream_t s = Stream();
    int* host = Pinned<int>(1);
    int* p = nullptr;
    cudaMallocAsync(&p, 4, s);
    cudaFreeAsync(p, s);
    EXPECT_EQ(copy ? cudaMemcpyAsync(host, p, 4, cudaMemcpyDeviceToHost, s)
                   : cudaMemsetAsync(p, 0, 4, s),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(s), cudaErrorIllegalAddress);
    EXPECT_THAT(cuda_host::LastKernelError(), HasSubstr("freed"));
  }
}

TEST_F(RuntimeStandins, OtherStreamsMustWaitForStreamOrderedMemory) {
  bool seen = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    cuda_host::ResetDevice();
    cuda_host::SetSeed(seed);
    cudaStream_t s = Stream();
    cudaStream_t other = Stream();
    int* p = nullptr;
    cudaMallocAsync(&p, 4, s);
    cudaMemsetAsync(p, 0, 4, other);
    seen |= cudaStreamSynchronize(other) == cudaErrorIllegalAddress;
  }
  EXPECT_TRUE(seen);
}

TEST_F(RuntimeStandins, OnlyStreamOrderedMemoryIsFreedInStreamOrder) {
  char* p = Device<char>(16);
  EXPECT_EQ(cudaFreeAsync(p, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
}

// ---- copies

TEST_F(RuntimeStandins, CopiesGoThereAndBack) {
  std::vector<int> in(100), out(100);
  std::iota(in.begin(), in.end(), 0);
  int* a = Device<int>(100);
  int* b = Device<int>(100);
  ASSERT_EQ(cudaMemcpy(a, in.data(), 400, cudaMemcpyHostToDevice), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(b, a, 400, cudaMemcpyDeviceToDevice), cudaSuccess);
  ASSERT_EQ(cudaMemcpy(out.data(), b, 400, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(in, out);
  EXPECT_EQ(GetCounters().bytes_to_device, 400);
  EXPECT_EQ(GetCounters().bytes_to_host, 400);
}

TEST_F(RuntimeStandins, CopiesOfRowsSkipWhatIsBetween) {
  const std::vector<char> in = {1, 2, 3, 4, 5, 6, 7, 8};  // 2 rows of 4
  char* p = Device<char>(6);                              // 2 rows of 3
  cudaMemset(p, 0, 6);
  ASSERT_EQ(cudaMemcpy2D(p, 3, in.data(), 4, 2, 2, cudaMemcpyHostToDevice),
            cudaSuccess);
  std::vector<char> out(6);
  cudaMemcpy(out.data(), p, 6, cudaMemcpyDeviceToHost);
  EXPECT_THAT(out, testing::ElementsAre(1, 2, 0, 5, 6, 0));
  EXPECT_EQ(cudaMemcpy2D(p, 3, in.data(), 4, 4, 2, cudaMemcpyHostToDevice),
            cudaErrorInvalidPitchValue);
  // The last row ends with its width, not its pitch.
  EXPECT_EQ(cudaMemcpy2D(p + 1, 3, in.data(), 4, 2, 2, cudaMemcpyHostToDevice),
            cudaSuccess);
  EXPECT_EQ(cudaMemcpy2D(p + 2, 3, in.data(), 4, 2, 2, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeStandins, CopiesStayInsideOfAllocations) {
  char host[64] = {};
  char* p = Device<char>(40);
  EXPECT_EQ(cudaMemcpy(p, host, 41, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_THAT(LastMessage(), HasSubstr("(of 40 bytes) + 0 end outside"));
  EXPECT_EQ(cudaMemcpy(p + 30, host, 10, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(p + 30, host, 11, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(p - 1, host, 1, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(p, 0, 41), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(p + 40, 0, 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(p + 40, 0, 0), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(p, p + 1, 10, cudaMemcpyDeviceToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(p), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(p, host, 1, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeStandins, CopiesMustNameTheirDirection) {
  char host[16] = {};
  char* p = Device<char>(16);
  EXPECT_EQ(cudaMemcpy(host, p, 16, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(p, host, 16, cudaMemcpyDeviceToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(p, host, 16, cudaMemcpyHostToHost),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(p, host, 16, static_cast<cudaMemcpyKind>(7)),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpy(p, nullptr, 16, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeStandins, PinnedMemoryHasAnEndAndAnEndOfLife) {
  char* p = Device<char>(64);
  char* pinned = Pinned<char>(32);
  EXPECT_EQ(cudaMemcpyAsync(p, pinned, 33, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(p, pinned, 1, cudaMemcpyHostToDevice),
            cudaErrorInvalidValue);
}

TEST_F(RuntimeStandins, AsyncCopiesReadTheHostWhenTheyRun) {
  cudaStream_t s = Stream();
  int* p = Device<int>(1);
  int* pinned = Pinned<int>(1);
  *pinned = 1;
  ASSERT_EQ(cudaMemcpyAsync(p, pinned, 4, cudaMemcpyHostToDevice, s),
            cudaSuccess);
  *pinned = 2;  // too early
  int out = 0;
  cudaStreamSynchronize(s);
  cudaMemcpy(&out, p, 4, cudaMemcpyDeviceToHost);
  EXPECT_EQ(out, 2);
  EXPECT_EQ(GetCounters().pageable_copies, 0);
}

TEST_F(RuntimeStandins, AsyncCopiesToTheHostArriveWithTheWait) {
  cudaStream_t s = Stream();
  int* p = Device<int>(1);
  cudaMemset(p, 0, 4);
  cudaDeviceSynchronize();
  int pageable = 7;
  ASSERT_EQ(cudaMemcpyAsync(&pageable, p, 4, cudaMemcpyDeviceToHost, s),
            cudaSuccess);
  EXPECT_EQ(pageable, 7);
  cudaStreamSynchronize(s);
  EXPECT_EQ(pageable, 0);
  EXPECT_EQ(GetCounters().pageable_copies, 1);
}

// ---- what host code may not touch

using RuntimeStandinsDeathTest = RuntimeStandins;

TEST_F(RuntimeStandinsDeathTest, HostCodeCannotReachDeviceMemory) {
  volatile int* p = Device<int>(1);
  EXPECT_DEATH(*p = 1,
               "host code touched device allocation 1 .of 4 bytes. . 0");
}

TEST_F(RuntimeStandinsDeathTest, NorCanHostFunctions) {
  cudaLaunchHostFunc(
      nullptr, [](void* p) { *static_cast<volatile int*>(p) = 1; },
      Device<int>(1));
  EXPECT_DEATH(cudaDeviceSynchronize(), "touched device allocation");
}

TEST_F(RuntimeStandinsDeathTest, FreedPinnedMemoryIsOutOfReach) {
  volatile int* p = Pinned<int>(1);
  cudaFreeHost(const_cast<int*>(p));
  EXPECT_DEATH(*p = 1, "freed pinned allocation|use-after-poison");
}

TEST_F(RuntimeStandins, TheTrapCanBeTurnedOff) {
  cuda_host::SetHostAccessTrap(false);
  int* p = Device<int>(1);
  *p = 5;
  int out = 0;
  cudaMemcpy(&out, p, 4, cudaMemcpyDeviceToHost);
  EXPECT_EQ(out, 5);
}

}  // namespace

// What a test may set and ask of the CUDA stand-ins, beyond the CUDA API.
// Owns:    nothing; the state is one per process.
// Threads: any, as the CUDA API.
// Errors:  none; messages describe the last call that failed, in words.
//
// A fixture calls ResetDevice first: it drops all work, memory and handles,
// and restores every setting here to its default.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_CONTROL_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_CONTROL_H_

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_host {

// False where tests run on a GPU (tests/gpu/device).
inline constexpr bool kCounts = true;

void ResetDevice();

// ---- settings
// Default: CUDA_HOST_DEVICES in the environment, or 1.
void SetDeviceCount(int count);
void SetDeviceMemory(size_t total_bytes);  // of each device; default 80 GiB
// Compute capability MAJOR.0; nothing else of a device changes. Default 9.
void SetCapability(int major);
// Of the order in which work runs that streams and events leave open.
void SetSeed(uint64_t seed);  // default 1
// Host code that touches device memory gets a signal. Default: on.
void SetHostAccessTrap(bool on);
// Kernels' arguments must not point to pageable or freed memory. Default: on;
// it also looks for addresses inside structs.
void SetArgumentCheck(bool on);
// A matmul's sums are split by its shape, as the library may. Default: on.
void SetGemmSplitByShape(bool on);

// ---- failures to come, each once; n counts from 1, from now
// The n-th call of `function`, or of any if empty, returns `error` and does
// nothing. An error that no context survives leaves it failed.
void FailCall(int n, cudaError_t error, std::string_view function = {});
void FailLaunch(int n, cudaError_t error);      // as it is enqueued
void FailKernel(int n);                         // as it runs
void FailMatmul(int n, cublasStatus_t status);  // as it is enqueued

// ---- what was wrong
std::string LastMessage();  // with the last call that failed
// With the work that failed as it ran; CUDA_HOST_LOG in the environment has it
// printed, too.
std::string LastKernelError();
std::string LastGemmError();  // with the last cuBLASLt call that failed

// ---- what happened since the last reset
struct Counters {
  int64_t calls = 0;
  int64_t launches_enqueued = 0;  // a graph's at each launch of the graph
  int64_t launches_executed = 0;
  int64_t matmuls_enqueued = 0;
  int64_t matmuls_executed = 0;
  int64_t matmuls_unaligned = 0;  // some row or column not at 16 bytes: slow
  int64_t pageable_copies = 0;    // async copies that were not truly so
  int64_t synchronizations = 0;   // by device, stream, event, or a sync copy
  int64_t graph_launches = 0;
  int64_t bytes_to_device = 0;
  int64_t bytes_to_host = 0;
  // Live now.
  int64_t device_bytes = 0;
  int64_t device_allocations = 0;
  int64_t pinned_allocations = 0;
  int64_t streams = 0;
  int64_t events = 0;
  int64_t graphs = 0;  // and instantiated ones
  int64_t pending_work = 0;
  int64_t cublaslt_objects = 0;
};
Counters GetCounters();

struct KernelCount {
  std::string name;  // demangled, or its address
  const void* function = nullptr;
  int64_t enqueued = 0;
  int64_t executed = 0;
};
std::vector<KernelCount> Kernels();  // in order of their first launch
// Executed launches of the kernels whose name contains `part`.
int64_t ExecutedLaunches(std::string_view part);

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_CONTROL_H_

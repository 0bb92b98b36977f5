// On a GPU, in place of tests/support/cuda_host/control.h: what tests of
// kernels ask of the stand-ins, as far as a device can answer it. Nothing is
// counted.
#ifndef MLA_TESTS_GPU_DEVICE_CUDA_HOST_CONTROL_H_
#define MLA_TESTS_GPU_DEVICE_CUDA_HOST_CONTROL_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cuda_host {

inline constexpr bool kCounts = false;

inline void ResetDevice() {
  cudaDeviceSynchronize();
  cudaGetLastError();
}
inline void SetHostAccessTrap(bool) {}
inline void SetCapability(int) {}
inline void SetDeviceCount(int) {}

inline std::string LastMessage() {
  return cudaGetErrorString(cudaPeekAtLastError());
}
inline std::string LastKernelError() {
  const cudaError_t error = cudaDeviceSynchronize();
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}
inline std::string LastGemmError() { return ""; }

struct Counters {
  int64_t launches_enqueued = 0;
  int64_t launches_executed = 0;
  int64_t matmuls_enqueued = 0;
  int64_t matmuls_executed = 0;
  int64_t graph_launches = 0;
  int64_t device_bytes = 0;
  int64_t pinned_allocations = 0;
  int64_t graphs = 0;
  int64_t cublaslt_objects = 0;
};
inline Counters GetCounters() { return {}; }
struct KernelCount {
  std::string name;
  int64_t enqueued = 0;
  int64_t executed = 0;
};
inline std::vector<KernelCount> Kernels() { return {}; }
inline int64_t ExecutedLaunches(std::string_view) { return 0; }

}  // namespace cuda_host

#endif  // MLA_TESTS_GPU_DEVICE_CUDA_HOST_CONTROL_H_

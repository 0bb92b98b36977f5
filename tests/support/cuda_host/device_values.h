// Values on their way to device memory and back, in tests of kernels.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_VALUES_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_VALUES_H_

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <vector>

#include "cuda_host/control.h"

namespace cuda_host {

// Device memory with these values; freed by ResetDevice.
template <typename T>
T* ToDevice(const std::vector<T>& values) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, values.size() * sizeof(T) + 1), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(p, values.data(), values.size() * sizeof(T),
                       cudaMemcpyHostToDevice),
            cudaSuccess);
  return static_cast<T*>(p);
}

inline std::vector<float> ToHost(const float* p, size_t count) {
  std::vector<float> values(count);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << LastKernelError();
  EXPECT_EQ(cudaMemcpy(values.data(), p, count * 4, cudaMemcpyDeviceToHost),
            cudaSuccess);
  return values;
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_VALUES_H_

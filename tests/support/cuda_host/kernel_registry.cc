// Tested by tests/cuda/runtime_launches_test.cc.
#include "cuda_host/kernel_registry.h"

namespace cuda_host {

KernelCount& KernelRegistry::Find(const void* function) {
  for (KernelCount& kernel : kernels_) {
    if (kernel.function == function) return kernel;
  }
  KernelCount kernel;
  kernel.name = FunctionName(function);
  kernel.function = function;
  kernels_.push_back(kernel);
  return kernels_.back();
}

int KernelRegistry::MaxDynamicShared(const void* function) const {
  auto it = max_dynamic_shared_.find(function);
  return it == max_dynamic_shared_.end() ? kDefaultDynamicShared : it->second;
}

void KernelRegistry::Reset() {
  kernels_.clear();
  max_dynamic_shared_.clear();
}

}  // namespace cuda_host

// KernelRegistry knows the kernels that were launched: their names, what shared
// memory they asked for, and how often they ran.
// Threads: guarded by the runtime's lock.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_KERNEL_REGISTRY_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_KERNEL_REGISTRY_H_

#include <map>
#include <string>
#include <vector>

#include "cuda_host/control.h"

namespace cuda_host {

class KernelRegistry {
 public:
  static constexpr int kDefaultDynamicShared = 48 * 1024;

  std::string Name(const void* function) { return Find(function).name; }
  void CountEnqueued(const void* function) { ++Find(function).enqueued; }
  void CountExecuted(const void* function) { ++Find(function).executed; }
  const std::vector<KernelCount>& kernels() const { return kernels_; }

  // Bytes; kDefaultDynamicShared until it is raised.
  int MaxDynamicShared(const void* function) const;
  void SetMaxDynamicShared(const void* function, int bytes) {
    max_dynamic_shared_[function] = bytes;
  }

  void Reset();

 private:
  KernelCount& Find(const void* function);

  std::vector<KernelCount> kernels_;
  std::map<const void*, int> max_dynamic_shared_;
};

// The demangled name of a function of this program, or its address where the
// program was stripped.
std::string FunctionName(const void* function);

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_KERNEL_REGISTRY_H_

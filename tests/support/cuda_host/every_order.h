// The orders in which a test of kernels tries them, and what the engine says of
// a kernel in each.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_EVERY_ORDER_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_EVERY_ORDER_H_

#include <cuda_runtime.h>

#include <functional>
#include <string>
#include <vector>

#include "cuda_host/engine.h"

namespace cuda_host {

inline const std::vector<Schedule> kSchedules = {
    {Order::kRoundRobin, 0}, {Order::kReverse, 0}, {Order::kRandom, 1},
    {Order::kRandom, 2},     {Order::kSkew, 1},    {Order::kSkew, 2}};

using KernelBody = std::function<void()>;

inline void RunKernel(const Schedule& schedule, dim3 grid, dim3 block,
                      size_t shared_bytes, const KernelBody& body) {
  Engine::Get().set_schedule(schedule);
  Engine::Get().Run(grid, block, shared_bytes, body);
}
// In the order of thread numbers.
inline void RunKernel(dim3 grid, dim3 block, size_t shared_bytes,
                      const KernelBody& body) {
  RunKernel({}, grid, block, shared_bytes, body);
}

// The engine's error with a block of so many threads, in each order; "" where
// there is none.
inline std::vector<std::string> ErrorsOf(unsigned threads, size_t shared_bytes,
                                         const KernelBody& body) {
  std::vector<std::string> errors;
  for (const Schedule& schedule : kSchedules) {
    std::string what;
    try {
      RunKernel(schedule, 1, threads, shared_bytes, body);
    } catch (const Error& error) {
      what = error.what();
    }
    errors.push_back(what);
  }
  return errors;
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_EVERY_ORDER_H_

// On a GPU, in place of tests/support/cuda_host/every_order.h: each test runs
// twice, and what depends on an order may show.
#ifndef MLA_TESTS_GPU_DEVICE_CUDA_HOST_EVERY_ORDER_H_
#define MLA_TESTS_GPU_DEVICE_CUDA_HOST_EVERY_ORDER_H_

#include <vector>

#include "cuda_host/engine.h"

namespace cuda_host {

inline const std::vector<Schedule> kSchedules(2);

}  // namespace cuda_host

#endif  // MLA_TESTS_GPU_DEVICE_CUDA_HOST_EVERY_ORDER_H_

// On a GPU, in place of tests/support/cuda_host/engine.h: orders are the
// device's own.
#ifndef MLA_TESTS_GPU_DEVICE_CUDA_HOST_ENGINE_H_
#define MLA_TESTS_GPU_DEVICE_CUDA_HOST_ENGINE_H_

#include <cstdint>

namespace cuda_host {

enum class Order { kRoundRobin, kRandom, kReverse, kSkew };
struct Schedule {
  Order order = Order::kRoundRobin;
  uint64_t seed = 0;
  bool eager_copies = false;
};

class Engine {
 public:
  struct Counters {
    uint64_t mma = 0;
    uint64_t load_matrix_extra_wavefronts = 0;
    uint64_t copy_async_bytes = 0;
  };
  static Engine& Get() {
    static Engine engine;
    return engine;
  }
  void set_schedule(Schedule) {}
  const Counters& counters() const { return counters_; }
  void ResetCounters() {}

 private:
  Counters counters_;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_GPU_DEVICE_CUDA_HOST_ENGINE_H_

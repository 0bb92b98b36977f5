// CudaExperts: a mixture of experts on a device; nothing of it waits for the
// host, which never learns who was chosen.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_EXPERTS_H_
#define MLA_RUNTIME_CUDA_EXPERTS_H_

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "kernels/cuda/launch/moe.h"
#include "runtime/backend.h"
#include "runtime/cuda/device.h"

namespace mla::runtime {

class CudaExperts {
 public:
  explicit CudaExperts(Device& device);

  // See Backend. `w` stays where it is while the backend lives.
  RoutingRows Route(Rows logits, const kernels::RouterArgs& router);
  void Run(Rows x, const RoutingRows& routing, const ExpertWeights& w, Rows y);

 private:
  // Where each expert's matrices are, in device memory.
  struct Pointers {
    explicit Pointers(Device& device) : gate_up(device), down(device) {}
    DeviceBuffer gate_up, down;
  };
  Pointers* PointersOf(const ExpertWeights& w);

  Device& device_;
  absl::flat_hash_map<const ExpertWeights*, std::unique_ptr<Pointers>> known_;
  DeviceBuffer experts_, weights_;    // of a routing
  DeviceBuffer position_, tiles_;     // of its pairs, sorted
  DeviceBuffer sorted_, activated_;   // bf16
  DeviceBuffer projected_, results_;  // float32
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_EXPERTS_H_

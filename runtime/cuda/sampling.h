// CudaSampling: draws a step's tokens on the device, where the step after finds
// them, and copies them to the host. Two steps' are kept: one that is under
// way, and the one before it.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_SAMPLING_H_
#define MLA_RUNTIME_CUDA_SAMPLING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/sample_args.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/step_arena.h"
#include "runtime/step_batch.h"

namespace mla::runtime {

class CudaSampling {
 public:
  explicit CudaSampling(Device& device);

  // Puts what the batch asks for into the arena, which the caller uploads...
  void BeginStep(const StepBatch& batch, StepArena& arena);
  // ...and then has the tokens filled in that the step before drew.
  void FillAwaited(int32_t* tokens);
  // Both as Backend's.
  int64_t Sample(kernels::Rows logits);
  absl::Span<const kernels::Drawn> Drawn(int64_t step);

 private:
  struct Turn {
    explicit Turn(Device& d) : tokens(d), drawn(d), host(d), copied(d) {}
    DeviceBuffer tokens;
    DeviceBuffer drawn;
    PinnedBuffer host;
    Event copied;
    int count = 0;
  };
  Turn& TurnOf(int64_t step) { return turns_[step % 2]; }

  Device& device_;
  Turn turns_[2];
  int64_t step_ = 0;  // that has sampled last
  // The current step's, on the device.
  int rows_ = 0;
  const int32_t* awaited_ = nullptr;  // null: none
  const kernels::Draw* draws_ = nullptr;
  kernels::LogitChange* changes_ = nullptr;
  std::vector<kernels::Drawn> nothing_;  // once the device has failed
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_SAMPLING_H_

// Recorder: a step's launches as a CUDA graph. The first step of a shape runs
// as it is called, which sizes all memory and chooses all algorithms; the
// second is recorded as it is called; from the third on the graph is launched
// and nothing is called.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_RECORDER_H_
#define MLA_RUNTIME_CUDA_RECORDER_H_

#include <cstddef>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/cuda/device.h"

namespace mla::runtime {

class Recorder {
 public:
  explicit Recorder(Device& device) : device_(device) {}
  ~Recorder() { Forget(); }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // True if a step of that shape is recorded: Finish launches it. Else what is
  // called until Finish may be recorded.
  bool Begin(const std::vector<size_t>& shape);
  // Launches what was recorded, now or earlier, if something was.
  void Finish();

 private:
  enum class Mode { kIdle, kRecord, kReplay };
  // Graphs that are kept; after that all are made anew.
  static constexpr size_t kMostGraphs = 256;

  void Forget();  // the graphs, not the shapes

  Device& device_;
  Mode mode_ = Mode::kIdle;
  int64_t generation_ = 0;
  // Null: seen once.
  absl::flat_hash_map<std::vector<size_t>, cudaGraphExec_t> graphs_;
  std::vector<size_t> shape_;  // of the step
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_RECORDER_H_

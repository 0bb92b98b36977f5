// Tested by tests/cuda/backend_parts_test.cc.
#include "runtime/cuda/recorder.h"

namespace mla::runtime {

void Recorder::Forget() {
  for (auto& [shape, graph] : graphs_) {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
    graph = nullptr;
  }
}

bool Recorder::Begin(const std::vector<size_t>& shape) {
  if (!device_.ok()) return false;
  const bool too_many = graphs_.size() > kMostGraphs;
  if (generation_ != device_.generation() || too_many) {
    device_.Synchronize();
    Forget();
    // Memory only grows: shapes that were seen still find what they need.
    if (too_many) graphs_.clear();
    generation_ = device_.generation();
  }
  shape_ = shape;
  const auto [known, is_new] = graphs_.try_emplace(shape, nullptr);
  if (is_new) return false;
  if (known->second != nullptr) {
    mode_ = Mode::kReplay;
    return true;
  }
  // Of this thread only: others may load a model meanwhile.
  if (device_.Check(cudaStreamBeginCapture(device_.stream(),
                                           cudaStreamCaptureModeThreadLocal),
                    "cudaStreamBeginCapture")) {
    mode_ = Mode::kRecord;
  }
  return false;
}

void Recorder::Finish() {
  if (mode_ == Mode::kIdle) return;
  cudaGraphExec_t& exec = graphs_[shape_];
  if (mode_ == Mode::kRecord) {
    cudaGraph_t graph = nullptr;
    if (device_.Check(cudaStreamEndCapture(device_.stream(), &graph),
                      "cudaStreamEndCapture")) {
      device_.Check(cudaGraphInstantiate(&exec, graph, 0),
                    "cudaGraphInstantiate");
    }
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
  mode_ = Mode::kIdle;
  if (exec != nullptr) {
    device_.Check(cudaGraphLaunch(exec, device_.stream()), "cudaGraphLaunch");
  }
}

}  // namespace mla::runtime

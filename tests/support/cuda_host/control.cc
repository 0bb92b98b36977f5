// Tested by tests/cuda/runtime_launches_test.cc.
#include "cuda_host/control.h"

#include <mutex>

#include "cuda_host/runtime_context.h"

namespace cuda_host {
namespace {

template <typename Body>
auto Locked(Body body) {
  Context& c = Context::Get();
  std::lock_guard<std::recursive_mutex> hold(c.lock);
  return body(c);
}

void Inject(std::vector<Injection> Context::*list, int n, int code,
            std::string_view function = {}) {
  Locked([&](Context& c) {
    (c.*list).push_back({n, code, std::string(function)});
  });
}

}  // namespace

void ResetDevice() {
  Locked([](Context& c) { c.Reset(); });
}

void SetDeviceCount(int count) {
  Locked([&](Context& c) { c.settings.devices = count; });
}
void SetDeviceMemory(size_t total_bytes) {
  Locked([&](Context& c) { c.settings.memory_bytes = total_bytes; });
}
void SetCapability(int major) {
  Locked([&](Context& c) { c.settings.capability_major = major; });
}
void SetSeed(uint64_t seed) {
  Locked([&](Context& c) { c.queue.SetSeed(seed); });
}
void SetHostAccessTrap(bool on) {
  Locked([&](Context& c) { c.memory.SetTrap(on); });
}
void SetArgumentCheck(bool on) {
  Locked([&](Context& c) { c.settings.check_arguments = on; });
}
void SetGemmSplitByShape(bool on) {
  Locked([&](Context& c) { c.settings.split_gemms = on; });
}

void FailCall(int n, cudaError_t error, std::string_view function) {
  Inject(&Context::call_injections, n, error, function);
}
void FailLaunch(int n, cudaError_t error) {
  Inject(&Context::launch_injections, n, error);
}
void FailKernel(int n) {
  Inject(&Context::kernel_injections, n, cudaErrorLaunchFailure);
}
void FailMatmul(int n, cublasStatus_t status) {
  Inject(&Context::matmul_injections, n, status);
}

std::string LastMessage() {
  return Locked([](Context& c) { return c.message; });
}
std::string LastKernelError() {
  return Locked([](Context& c) { return c.kernel_error; });
}
std::string LastGemmError() {
  return Locked([](Context& c) { return c.gemm_error; });
}

Counters GetCounters() {
  return Locked([](Context& c) {
    Counters n = c.counters;
    for (int d = 0; d < c.settings.devices; ++d) {
      n.device_bytes += c.memory.LiveBytes(d);
    }
    n.device_allocations = c.memory.Count(MemoryKind::kDevice);
    n.pinned_allocations = c.memory.Count(MemoryKind::kPinned);
    n.streams = static_cast<int64_t>(c.streams.size());
    n.events = static_cast<int64_t>(c.events.size());
    n.graphs = static_cast<int64_t>(c.graphs.size() + c.graph_execs.size());
    n.pending_work = c.queue.Pending();
    return n;
  });
}

std::vector<KernelCount> Kernels() {
  return Locked([](Context& c) { return c.kernels.kernels(); });
}

int64_t ExecutedLaunches(std::string_view part) {
  return Locked([&](Context& c) {
    int64_t sum = 0;
    for (const KernelCount& kernel : c.kernels.kernels()) {
      if (kernel.name.find(part) != std::string::npos) sum += kernel.executed;
    }
    return sum;
  });
}

}  // namespace cuda_host

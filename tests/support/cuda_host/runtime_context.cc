// Tested by tests/cuda/runtime_standins_test.cc.
#include "cuda_host/runtime_context.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "cuda_host/access_trap.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
thread_local bool running_work = false;

}  // namespace

int DefaultDevices() {
  const char* count = std::getenv("CUDA_HOST_DEVICES");
  return count == nullptr ? 1 : std::atoi(count);
}

int& CurrentDevice() { return current_device; }
bool& RunningWork() { return running_work; }

bool IsFatal(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

Context::Context() : queue([this](const Ticket& ticket) { Execute(ticket); }) {
  InstallAccessTrap();
}

Context& Context::Get() {
  static Context* context = new Context;  // outlives every static destructor
  return *context;
}

void Context::Reset() {
  queue.Abandon();
  queue.SetSeed(1);
  for (CUstream_st* stream : streams) delete stream;
  for (CUevent_st* event : events) delete event;
  for (CUgraph_st* graph : graphs) delete graph;
  for (CUgraphExec_st* exec : graph_execs) delete exec;
  streams.clear();
  events.clear();
  graphs.clear();
  graph_execs.clear();
  null_streams.clear();
  captures.clear();
  memory.FreeAll();
  memory.SetTrap(true);
  kernels.Reset();
  settings = {};
  counters = {};
  dead.clear();
  message.clear();
  kernel_error.clear();
  gemm_error.clear();
  for (auto* injections : {&call_injections, &launch_injections,
                           &kernel_injections, &matmul_injections}) {
    injections->clear();
  }
  current_device = 0;
  last_error = cudaSuccess;
}

cudaError_t Context::Fail(cudaError_t code, std::string why) {
  message = std::move(why);
  return code;
}

void Context::NoteKernelError(const std::string& what) {
  kernel_error = what;
  message = what;
  if (std::getenv("CUDA_HOST_LOG") != nullptr) {
    std::fprintf(stderr, "%s\n", what.c_str());
  }
}

void Context::Die(cudaError_t code, int device) {
  dead[device] = code;
  queue.Abandon(device);
}

cudaError_t Context::Dead() const {
  const auto found = dead.find(current_device);
  return found == dead.end() ? cudaSuccess : found->second;
}

void Context::LetOthersIn() {
  lock.unlock();
  std::this_thread::sleep_for(std::chrono::microseconds(50));
  lock.lock();
}

template <typename Run>
cudaError_t Context::Wait(Run run) {
  for (bool done = false; !done;) {
    if (queue.AnyReady()) {
      memory.Open();
      done = run();
      memory.Close();
    } else {
      done = run();
    }
    if (done) break;
    LetOthersIn();
  }
  return Dead();
}

void Context::Execute(const Ticket& ticket) {
  const Work& work = ticket.work;
  // A host function is host code: device memory is out of its reach.
  const bool is_host = work.kind == Work::Kind::kHostFunction;
  if (is_host) memory.Close();
  running_work = true;
  try {
    if (work.kind == Work::Kind::kKernel) {
      kernels.CountExecuted(work.function);
      ++counters.launches_executed;
      if (Due(kernel_injections, "") != 0) {
        throw Fault(cudaErrorLaunchFailure,
                    "a failure that the test asked for");
      }
    }
    if (work.run) work.run();
    if (work.kind == Work::Kind::kKernel) {
      const std::string broken = memory.BrokenRedzone();
      if (!broken.empty()) throw Fault(cudaErrorIllegalAddress, broken);
    }
  } catch (const Fault& fault) {
    NoteKernelError(Text(work.name, ": ", fault.what()));
    Die(fault.code(), ticket.device);
  } catch (const std::exception& error) {
    NoteKernelError(Text(work.name, ": ", error.what()));
    Die(cudaErrorLaunchFailure, ticket.device);
  }
  running_work = false;
  if (is_host) memory.Open();
}

cudaError_t Context::WaitFor(const TicketPtr& ticket) {
  if (ticket == nullptr || ticket->done) return Dead();
  return Wait([&] { return queue.RunUntil(ticket); });
}

cudaError_t Context::WaitForAll() {
  if (queue.Pending() == 0) return Dead();
  return Wait([&] { return queue.RunAll(current_device); });
}

cudaError_t Context::Progress() {
  if (!queue.AnyReady()) {
    if (queue.Pending() > 0) LetOthersIn();
    return Dead();
  }
  memory.Open();
  queue.RunSome();
  memory.Close();
  return Dead();
}

int Context::Due(std::vector<Injection>& injections,
                 std::string_view function) {
  int due = 0;
  for (auto it = injections.begin(); it != injections.end();) {
    const bool is_named = it->function.empty() || it->function == function;
    if (is_named && --it->left == 0) {
      due = it->code;
      it = injections.erase(it);
    } else {
      ++it;
    }
  }
  return due;
}

cudaError_t Enter(Context& c, const char* name, Needs needs) {
  if (RunningWork()) {
    return c.Fail(cudaErrorNotPermitted,
                  Text(name, ": called by work of a stream, which may not"));
  }
  ++c.counters.calls;
  const auto due =
      static_cast<cudaError_t>(Context::Due(c.call_injections, name));
  if (due != cudaSuccess) {
    if (IsFatal(due)) c.Die(due, CurrentDevice());
    return c.Fail(due, Text(name, ": a failure that the test asked for"));
  }
  if (needs == Needs::kNothing) return cudaSuccess;
  if (c.settings.devices == 0) {
    return c.Fail(cudaErrorNoDevice, Text(name, ": there is no device"));
  }
  return c.Dead();
}

cudaError_t Leave(cudaError_t code) {
  // An answer, not an error.
  if (code != cudaSuccess && code != cudaErrorNotReady) last_error = code;
  return code;
}

}  // namespace cuda_host

extern "C" {

cudaError_t cudaPeekAtLastError(void) {
  using cuda_host::Context;
  std::lock_guard<std::recursive_mutex> hold(Context::Get().lock);
  const cudaError_t dead = Context::Get().Dead();
  if (dead != cudaSuccess) return dead;
  return cuda_host::last_error;
}

cudaError_t cudaGetLastError(void) {
  const cudaError_t code = cudaPeekAtLastError();
  cuda_host::last_error = cudaSuccess;
  return code;
}

}  // extern "C"

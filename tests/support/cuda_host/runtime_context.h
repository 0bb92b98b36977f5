// Context: the state behind the CUDA API, one per process, and the frame that
// every call runs in.
// Owns:    all of it: memory, handles, work, counters, settings.
// Threads: any; each call holds the lock throughout. Work runs inside a call.
// Errors:  a call that fails says why through Fail. Work that fails leaves its
//          code in `dead`, which every later call of the device returns.
// Flow:    cudaX -> Api("cudaX", ...) -> [Enter, the call's body, Leave]
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_CONTEXT_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_CONTEXT_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda_host/address_space.h"
#include "cuda_host/control.h"
#include "cuda_host/kernel_registry.h"
#include "cuda_host/runtime_handles.h"
#include "cuda_host/work_queue.h"

namespace cuda_host {

// Thrown by work that a GPU would have faulted on.
class Fault : public std::exception {
 public:
  Fault(cudaError_t code, std::string message)
      : code_(code), message_(std::move(message)) {}
  cudaError_t code() const { return code_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  cudaError_t code_;
  std::string message_;
};

// CUDA_HOST_DEVICES in the environment, or 1.
int DefaultDevices();

struct Settings {
  int devices = DefaultDevices();
  size_t memory_bytes = size_t{80} << 30;
  int capability_major = 9;
  bool check_arguments = true;
  bool split_gemms = true;
};

// A failure to come: the `left`-th from now.
struct Injection {
  int left = 0;
  int code = 0;          // cudaError_t or cublasStatus_t
  std::string function;  // any if empty
};

struct Context {
  Context();
  static Context& Get();

  std::recursive_mutex lock;
  Settings settings;
  Counters counters;
  AddressSpace memory;
  KernelRegistry kernels;
  WorkQueue queue;

  std::map<int, cudaError_t> dead;  // devices, and of what
  std::string message;
  std::string kernel_error;
  std::string gemm_error;
  std::vector<Injection> call_injections;
  std::vector<Injection> launch_injections;
  std::vector<Injection> kernel_injections;
  std::vector<Injection> matmul_injections;

  std::map<int, CUstream_st> null_streams;  // by device
  std::set<CUstream_st*> streams;
  std::set<CUevent_st*> events;
  std::set<CUgraph_st*> graphs;
  std::set<CUgraphExec_st*> graph_execs;
  std::vector<std::shared_ptr<Capture>> captures;  // active ones

  void Reset();

  // `code`, with what was wrong.
  cudaError_t Fail(cudaError_t code, std::string why);
  // The device does not survive the code: its work is dropped, its calls fail.
  void Die(cudaError_t code, int device);
  // Of the current device: what every call returns once it is dead.
  cudaError_t Dead() const;
  void NoteKernelError(const std::string& what);

  // ---- streams: runtime_streams.cc
  // Null if the handle is none.
  CUstream_st* Resolve(cudaStream_t handle);
  // Adds to the stream, or to the graph that it is captured into.
  cudaError_t Enqueue(cudaStream_t handle, Work work);
  // The same to a stream that is not capturing; `more` comes before it too.
  TicketPtr Append(CUstream_st* stream, Work work,
                   std::vector<TicketPtr> more = {});

  // ---- waits: each runs work, then tells what became of it
  cudaError_t WaitFor(const TicketPtr& ticket);
  cudaError_t WaitForAll();  // of the current device
  cudaError_t Progress();    // a little

  // ---- captures: runtime_captures.cc
  // Refuses a call that no capture in sight allows, and spoils those.
  cudaError_t RefuseUnderCapture(const char* what);
  // Refuses one that waits for what a capture has on the current device.
  cudaError_t RefuseWaitUnderCapture(const char* what);
  cudaError_t Spoil(Capture& capture, cudaError_t code, std::string why);

  // The n-th: consumes one step of each that names `function`. 0: none is due.
  static int Due(std::vector<Injection>& injections, std::string_view function);

 private:
  void Execute(const Ticket& ticket);
  // What is left waits for another thread's calls: a moment for those.
  void LetOthersIn();
  // Runs what `run` does until it says that all is done, and lets others make
  // calls where there is nothing to run.
  template <typename Run>
  cudaError_t Wait(Run run);
};

// The device that this thread has set.
int& CurrentDevice();
// Whether this thread runs work: kernels and host functions make no calls.
bool& RunningWork();
bool IsFatal(cudaError_t code);

// What a call needs.
enum class Needs { kNothing, kDevice };

// Of a call: counts it, then what stands in its way, if anything.
cudaError_t Enter(Context& context, const char* name, Needs needs);
cudaError_t Leave(cudaError_t code);

template <typename Body>
cudaError_t Api(const char* name, Body body, Needs needs = Needs::kDevice) {
  Context& context = Context::Get();
  std::lock_guard<std::recursive_mutex> hold(context.lock);
  cudaError_t code = Enter(context, name, needs);
  if (code == cudaSuccess) code = body(context);
  return Leave(code);
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_CONTEXT_H_

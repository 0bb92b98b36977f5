// What the handles of the runtime API point to.
// Owns:    a graph its nodes; Context (runtime_context.h) the handles.
// Threads: guarded by the runtime's lock.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_HANDLES_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_HANDLES_H_

#include <cuda_runtime.h>

#include <memory>
#include <thread>
#include <vector>

#include "cuda_host/work_queue.h"

namespace cuda_host {

struct GraphNode {
  Work work;
  std::vector<int> after;  // nodes, ascending
};

// A capture under way, or one that has ended and that an event remembers.
struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  CUstream_st* origin = nullptr;
  std::vector<CUstream_st*> members;  // the origin and what joined it
  std::vector<GraphNode> nodes;
  bool active = true;
  bool valid = true;
};

}  // namespace cuda_host

struct CUstream_st {
  int device = 0;
  bool blocking = true;  // waits for the null stream, and it for this
  cuda_host::TicketPtr last;
  std::shared_ptr<cuda_host::Capture> capture;
  std::vector<int> tails;  // the capture's nodes that the next one comes after
};

struct CUevent_st {
  int device = 0;
  bool timed = true;
  cuda_host::TicketPtr last;  // null: not recorded yet, or in a capture
  std::shared_ptr<cuda_host::Capture> capture;
  std::vector<int> tails;
};

struct CUgraph_st {
  std::vector<cuda_host::GraphNode> nodes;
};

struct CUgraphExec_st {
  std::vector<cuda_host::GraphNode> nodes;
  cuda_host::TicketPtr last;  // of its latest launch: it never overlaps itself
};

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_HANDLES_H_

// Graphs: nodes that a capture recorded, put into the queue as often as asked.
// A kernel's arguments are those of the capture; memory that copies name is
// looked at when they run.
//
// Tested by tests/cuda/runtime_graphs_test.cc.
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

cudaError_t NoGraph(Context& c, const char* what) {
  return c.Fail(cudaErrorInvalidValue, Text(what, ": the graph is none"));
}

cudaError_t LaunchGraph(Context& c, CUgraphExec_st* exec, cudaStream_t handle) {
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr) {
    return c.Fail(cudaErrorInvalidResourceHandle,
                  "cudaGraphLaunch: the stream is none");
  }
  if (stream->capture != nullptr) {
    return c.Spoil(*stream->capture, cudaErrorStreamCaptureUnsupported,
                   "cudaGraphLaunch: not captured by these stand-ins");
  }
  const cudaError_t code = c.Enqueue(handle, Point("cudaGraphLaunch"));
  if (code != cudaSuccess) return code;
  const TicketPtr start =
      c.Append(stream, Point("cudaGraphLaunch"), {exec->last});
  std::vector<TicketPtr> tickets;
  for (const GraphNode& node : exec->nodes) {
    if (node.work.kind == Work::Kind::kKernel) {
      c.kernels.CountEnqueued(node.work.function);
      ++c.counters.launches_enqueued;
    }
    if (node.work.kind == Work::Kind::kMatmul) ++c.counters.matmuls_enqueued;
    std::vector<TicketPtr> after = {start};
    for (int i : node.after) after.push_back(tickets[i]);
    tickets.push_back(c.queue.Add(node.work, stream->device, std::move(after)));
  }
  exec->last = c.Append(stream, Point("cudaGraphLaunch's end"), tickets);
  ++c.counters.graph_launches;
  return cudaSuccess;
}

// Why `to` cannot take the place of `from`.
cudaGraphExecUpdateResult Compare(const std::vector<GraphNode>& from,
                                  const std::vector<GraphNode>& to) {
  if (from.size() != to.size()) return cudaGraphExecUpdateErrorTopologyChanged;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i].after != to[i].after) {
      return cudaGraphExecUpdateErrorTopologyChanged;
    }
    if (from[i].work.kind != to[i].work.kind) {
      return cudaGraphExecUpdateErrorNodeTypeChanged;
    }
    if (from[i].work.kind == Work::Kind::kKernel &&
        from[i].work.function != to[i].work.function) {
      return cudaGraphExecUpdateErrorFunctionChanged;
    }
  }
  return cudaGraphExecUpdateSuccess;
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;
using cuda_host::NoGraph;

extern "C" {

// The count only: nodes have no handles here.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes,
                              size_t* numNodes) {
  return Api("cudaGraphGetNodes", [&](Context& c) {
    if (c.graphs.count(graph) == 0) {
      return NoGraph(c, "cudaGraphGetNodes");
    }
    if (nodes != nullptr || numNodes == nullptr) {
      return c.Fail(cudaErrorNotSupported,
                    "cudaGraphGetNodes: only the count is to be had");
    }
    *numNodes = graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* pGraphExec, cudaGraph_t graph,
                                 unsigned long long flags) {
  return Api("cudaGraphInstantiate", [&](Context& c) {
    if (pGraphExec == nullptr || c.graphs.count(graph) == 0 || flags != 0) {
      return NoGraph(c, "cudaGraphInstantiate");
    }
    auto* exec = new CUgraphExec_st;
    exec->nodes = graph->nodes;
    c.graph_execs.insert(exec);
    *pGraphExec = exec;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t hGraphExec, cudaGraph_t hGraph,
                                cudaGraphExecUpdateResultInfo* resultInfo) {
  return Api("cudaGraphExecUpdate", [&](Context& c) {
    if (c.graph_execs.count(hGraphExec) == 0 || c.graphs.count(hGraph) == 0 ||
        resultInfo == nullptr) {
      return NoGraph(c, "cudaGraphExecUpdate");
    }
    *resultInfo = {};
    resultInfo->result = cuda_host::Compare(hGraphExec->nodes, hGraph->nodes);
    if (resultInfo->result != cudaGraphExecUpdateSuccess) {
      return c.Fail(cudaErrorGraphExecUpdateFailure,
                    "cudaGraphExecUpdate: the graph is another one");
    }
    hGraphExec->nodes = hGraph->nodes;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t graphExec, cudaStream_t stream) {
  return Api("cudaGraphUpload", [&](Context& c) {
    if (c.graph_execs.count(graphExec) == 0 || c.Resolve(stream) == nullptr) {
      return NoGraph(c, "cudaGraphUpload");
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graphExec, cudaStream_t stream) {
  return Api("cudaGraphLaunch", [&](Context& c) {
    if (c.graph_execs.count(graphExec) == 0) {
      return NoGraph(c, "cudaGraphLaunch");
    }
    return cuda_host::LaunchGraph(c, graphExec, stream);
  });
}

// Launches under way still run.
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graphExec) {
  return Api("cudaGraphExecDestroy", [&](Context& c) {
    if (c.graph_execs.erase(graphExec) == 0) {
      return NoGraph(c, "cudaGraphExecDestroy");
    }
    delete graphExec;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return Api("cudaGraphDestroy", [&](Context& c) {
    if (c.graphs.erase(graph) == 0) {
      return NoGraph(c, "cudaGraphDestroy");
    }
    delete graph;
    return cudaSuccess;
  });
}

}  // extern "C"

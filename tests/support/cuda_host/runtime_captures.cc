// Stream capture: what a stream is given becomes nodes of a graph. The rules
// for other calls meanwhile are those of the CUDA programming guide, chapter
// "CUDA graphs", section "Prohibited and unhandled operations"; where it only
// says "unsafe", the call is refused.
//
// Tested by tests/cuda/runtime_graphs_test.cc.
#include <algorithm>
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {

cudaError_t Context::Spoil(Capture& capture, cudaError_t code,
                           std::string why) {
  capture.valid = false;
  return Fail(code, std::move(why));
}

cudaError_t Context::RefuseUnderCapture(const char* what) {
  cudaError_t code = cudaSuccess;
  for (const auto& capture : captures) {
    const bool is_ours = capture->thread == std::this_thread::get_id();
    if (capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && is_ours)) {
      code = Spoil(*capture, cudaErrorStreamCaptureUnsupported,
                   Text(what, ": not while a stream is under capture"));
    }
  }
  return code;
}

cudaError_t Context::RefuseWaitUnderCapture(const char* what) {
  cudaError_t code = cudaSuccess;
  for (const auto& capture : captures) {
    for (CUstream_st* member : capture->members) {
      if (member->device != CurrentDevice()) continue;
      code = Spoil(*capture, cudaErrorStreamCaptureUnsupported,
                   Text(what, ": waits for a stream that is under capture"));
    }
  }
  return code;
}

namespace {

cudaError_t Begin(Context& c, cudaStream_t handle, cudaStreamCaptureMode mode) {
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr) {
    return c.Fail(cudaErrorInvalidResourceHandle,
                  "cudaStreamBeginCapture: the stream is none");
  }
  if (stream == &c.null_streams[stream->device]) {
    return c.Fail(cudaErrorStreamCaptureUnsupported,
                  "cudaStreamBeginCapture: the null stream is not captured");
  }
  if (stream->capture != nullptr) {
    return c.Fail(cudaErrorIllegalState,
                  "cudaStreamBeginCapture: the stream is under capture");
  }
  auto capture = std::make_shared<Capture>();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = stream;
  capture->members = {stream};
  stream->capture = capture;
  stream->tails.clear();
  c.captures.push_back(std::move(capture));
  return cudaSuccess;
}

// Whether every node comes before the stream's latest, or is it.
bool IsJoined(const Capture& capture) {
  std::vector<bool> reached(capture.nodes.size());
  std::vector<int> todo = capture.origin->tails;
  while (!todo.empty()) {
    const int node = todo.back();
    todo.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    const std::vector<int>& after = capture.nodes[node].after;
    todo.insert(todo.end(), after.begin(), after.end());
  }
  return std::all_of(reached.begin(), reached.end(), [](bool r) { return r; });
}

cudaError_t End(Context& c, cudaStream_t handle, cudaGraph_t* out) {
  CUstream_st* stream = c.Resolve(handle);
  if (out == nullptr || stream == nullptr || stream->capture == nullptr) {
    return c.Fail(stream == nullptr ? cudaErrorInvalidResourceHandle
                                    : cudaErrorIllegalState,
                  "cudaStreamEndCapture: the stream is not under capture");
  }
  *out = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) {
    return c.Spoil(*capture, cudaErrorStreamCaptureUnmatched,
                   "cudaStreamEndCapture: the capture began on another stream");
  }
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id()) {
    return c.Fail(cudaErrorStreamCaptureWrongThread,
                  "cudaStreamEndCapture: the capture began on another thread");
  }
  const bool is_joined = IsJoined(*capture);
  for (CUstream_st* member : capture->members) {
    member->capture = nullptr;
    member->tails.clear();
  }
  capture->active = false;
  c.captures.erase(std::find(c.captures.begin(), c.captures.end(), capture));
  if (!capture->valid) {
    return c.Fail(cudaErrorStreamCaptureInvalidated,
                  Text("cudaStreamEndCapture: an earlier call spoiled the "
                       "capture; the last error was: ",
                       c.message));
  }
  if (!is_joined) {
    return c.Fail(cudaErrorStreamCaptureUnjoined,
                  "cudaStreamEndCapture: a stream that joined the capture has "
                  "work that the first stream did not wait for");
  }
  auto* graph = new CUgraph_st;
  graph->nodes = std::move(capture->nodes);
  c.graphs.insert(graph);
  *out = graph;
  return cudaSuccess;
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Begin;
using cuda_host::Context;
using cuda_host::End;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream,
                                   enum cudaStreamCaptureMode mode) {
  return Api("cudaStreamBeginCapture",
             [&](Context& c) { return Begin(c, stream, mode); });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* pGraph) {
  return Api("cudaStreamEndCapture",
             [&](Context& c) { return End(c, stream, pGraph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream,
                                  enum cudaStreamCaptureStatus* status) {
  return Api("cudaStreamIsCapturing", [&](Context& c) {
    CUstream_st* s = c.Resolve(stream);
    if (s == nullptr || status == nullptr) {
      return c.Fail(
          s == nullptr ? cudaErrorInvalidResourceHandle : cudaErrorInvalidValue,
          "cudaStreamIsCapturing: no stream, or nowhere to tell");
    }
    *status = s->capture == nullptr ? cudaStreamCaptureStatusNone
              : s->capture->valid   ? cudaStreamCaptureStatusActive
                                    : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
  });
}

}  // extern "C"

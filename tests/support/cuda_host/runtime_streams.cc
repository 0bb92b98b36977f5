// Streams: what each piece of work comes after, and waiting for a stream.
// Tested by tests/cuda/runtime_streams_test.cc.
#include <algorithm>
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// Of Enqueue under capture: a node after the stream's latest.
cudaError_t Record(Context& c, CUstream_st* stream, Work work) {
  Capture& capture = *stream->capture;
  if (!capture.valid) {
    return c.Fail(cudaErrorStreamCaptureInvalidated,
                  Text(work.name, ": an earlier call spoiled the capture"));
  }
  if (work.kind == Work::Kind::kAllocate || work.kind == Work::Kind::kFree) {
    return c.Spoil(capture, cudaErrorStreamCaptureUnsupported,
                   Text(work.name, ": not captured by these stand-ins"));
  }
  capture.nodes.push_back({std::move(work), std::move(stream->tails)});
  stream->tails = {static_cast<int>(capture.nodes.size()) - 1};
  return cudaSuccess;
}

}  // namespace

CUstream_st* Context::Resolve(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) {
    CUstream_st& stream = null_streams[CurrentDevice()];
    stream.device = CurrentDevice();
    return &stream;
  }
  return streams.count(handle) > 0 ? handle : nullptr;
}

TicketPtr Context::Append(CUstream_st* stream, Work work,
                          std::vector<TicketPtr> more) {
  more.push_back(stream->last);
  CUstream_st& null_stream = null_streams[stream->device];
  if (stream == &null_stream) {
    for (CUstream_st* other : streams) {
      if (other->blocking && other->device == stream->device) {
        more.push_back(other->last);
      }
    }
  } else if (stream->blocking) {
    more.push_back(null_stream.last);
  }
  stream->last = queue.Add(std::move(work), stream->device, std::move(more));
  return stream->last;
}

cudaError_t Context::Enqueue(cudaStream_t handle, Work work) {
  CUstream_st* stream = Resolve(handle);
  if (stream == nullptr) {
    return Fail(cudaErrorInvalidResourceHandle,
                Text(work.name, ": the stream is none"));
  }
  if (stream->capture != nullptr) {
    return Record(*this, stream, std::move(work));
  }
  if (stream == &null_streams[stream->device]) {
    for (const auto& capture : captures) {
      for (CUstream_st* member : capture->members) {
        if (member->blocking && member->device == stream->device) {
          return Spoil(*capture, cudaErrorStreamCaptureImplicit,
                       Text(work.name,
                            ": on the null stream, which would wait for a "
                            "stream under capture"));
        }
      }
    }
  }
  if (work.kind == Work::Kind::kKernel) kernels.CountEnqueued(work.function);
  if (work.kind == Work::Kind::kKernel) ++counters.launches_enqueued;
  if (work.kind == Work::Kind::kMatmul) ++counters.matmuls_enqueued;
  Append(stream, std::move(work));
  return cudaSuccess;
}

namespace {

cudaError_t Create(Context& c, cudaStream_t* out, unsigned int flags) {
  if (out == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) {
    return c.Fail(cudaErrorInvalidValue, "cudaStreamCreate: null or flags");
  }
  auto* stream = new CUstream_st;
  stream->device = CurrentDevice();
  stream->blocking = (flags & cudaStreamNonBlocking) == 0;
  c.streams.insert(stream);
  *out = stream;
  return cudaSuccess;
}

// Of a call that asks how far a stream is: null, with the error, if it may not.
CUstream_st* ResolveToWait(Context& c, cudaStream_t handle, const char* what,
                           cudaError_t* code) {
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr) {
    *code = c.Fail(cudaErrorInvalidResourceHandle,
                   Text(what, ": the stream is none"));
  } else if (stream->capture != nullptr) {
    *code = c.Spoil(*stream->capture, cudaErrorStreamCaptureUnsupported,
                    Text(what, ": the stream is under capture"));
    return nullptr;
  } else if (stream == &c.null_streams[stream->device]) {
    *code = c.RefuseWaitUnderCapture(what);
    if (*code != cudaSuccess) return nullptr;
  }
  return stream;
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;
using cuda_host::Create;
using cuda_host::Point;
using cuda_host::ResolveToWait;
using cuda_host::Work;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* pStream) {
  return Api("cudaStreamCreate",
             [&](Context& c) { return Create(c, pStream, cudaStreamDefault); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* pStream,
                                      unsigned int flags) {
  return Api("cudaStreamCreateWithFlags",
             [&](Context& c) { return Create(c, pStream, flags); });
}

// A priority only hints at an order; ours is random.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* pStream,
                                         unsigned int flags, int) {
  return Api("cudaStreamCreateWithPriority",
             [&](Context& c) { return Create(c, pStream, flags); });
}

// What was enqueued still runs.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return Api("cudaStreamDestroy", [&](Context& c) {
    if (c.streams.count(stream) == 0) {
      return c.Fail(cudaErrorInvalidResourceHandle,
                    "cudaStreamDestroy: the stream is none");
    }
    if (stream->capture != nullptr) {
      return c.Spoil(*stream->capture, cudaErrorStreamCaptureUnsupported,
                     "cudaStreamDestroy: the stream is under capture");
    }
    // So that the null stream's next work still comes after it.
    if (stream->blocking && stream->last != nullptr && !stream->last->done) {
      CUstream_st& null_stream = c.null_streams[stream->device];
      null_stream.device = stream->device;
      c.Append(&null_stream, Point("cudaStreamDestroy"));
    }
    c.streams.erase(stream);
    delete stream;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return Api("cudaStreamSynchronize", [&](Context& c) {
    cudaError_t code = cudaSuccess;
    CUstream_st* s = ResolveToWait(c, stream, "cudaStreamSynchronize", &code);
    if (s == nullptr) return code;
    ++c.counters.synchronizations;
    // Of the null stream this waits for the blocking ones too, as all work that
    // comes after both would.
    if (s == &c.null_streams[s->device]) {
      c.Append(s, Point("cudaStreamSynchronize"));
    }
    return c.WaitFor(s->last);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return Api("cudaStreamQuery", [&](Context& c) {
    cudaError_t code = cudaSuccess;
    CUstream_st* s = ResolveToWait(c, stream, "cudaStreamQuery", &code);
    if (s == nullptr) return code;
    if (s->last == nullptr || s->last->done) return c.Dead();
    code = c.Progress();
    if (code != cudaSuccess) return code;
    return s->last->done ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn,
                               void* userData) {
  return Api("cudaLaunchHostFunc", [&](Context& c) {
    if (fn == nullptr) {
      return c.Fail(cudaErrorInvalidValue, "cudaLaunchHostFunc: no function");
    }
    Work work;
    work.kind = Work::Kind::kHostFunction;
    work.name = "cudaLaunchHostFunc";
    work.function = reinterpret_cast<const void*>(fn);
    work.run = [fn, userData] { fn(userData); };
    return c.Enqueue(stream, std::move(work));
  });
}

}  // extern "C"

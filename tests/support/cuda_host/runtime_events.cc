// Events: points in streams that others wait for. Recorded under capture, an
// event stands for nodes of the graph, and who waits for it joins the capture.
//
// Tested by tests/cuda/runtime_streams_test.cc.
#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

cudaError_t NoEvent(Context& c, const char* what) {
  return c.Fail(cudaErrorInvalidResourceHandle,
                Text(what, ": the event is none"));
}

cudaError_t Create(Context& c, cudaEvent_t* out, unsigned int flags) {
  const bool is_timed = (flags & cudaEventDisableTiming) == 0;
  if (out == nullptr || flags > 7 ||
      ((flags & cudaEventInterprocess) != 0 && is_timed)) {
    return c.Fail(cudaErrorInvalidValue, "cudaEventCreate: null or flags");
  }
  auto* event = new CUevent_st;
  event->device = CurrentDevice();
  event->timed = is_timed;
  c.events.insert(event);
  *out = event;
  return cudaSuccess;
}

cudaError_t RecordEvent(Context& c, CUevent_st* event, cudaStream_t handle) {
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr || stream->device != event->device) {
    return c.Fail(cudaErrorInvalidResourceHandle,
                  "cudaEventRecord: the stream is none, or another device's");
  }
  if (stream->capture != nullptr) {
    if (!stream->capture->valid) {
      return c.Fail(cudaErrorStreamCaptureInvalidated,
                    "cudaEventRecord: an earlier call spoiled the capture");
    }
    event->last = nullptr;
    event->capture = stream->capture;
    event->tails = stream->tails;
    return cudaSuccess;
  }
  const cudaError_t code = c.Enqueue(handle, Point("cudaEventRecord"));
  if (code != cudaSuccess) return code;
  event->last = stream->last;
  event->capture = nullptr;
  return cudaSuccess;
}

void AddTails(std::vector<int>* tails, const std::vector<int>& more) {
  std::vector<int> all;
  std::set_union(tails->begin(), tails->end(), more.begin(), more.end(),
                 std::back_inserter(all));
  *tails = std::move(all);
}

// The event was recorded under capture.
cudaError_t WaitInCapture(Context& c, CUstream_st* stream, CUevent_st* event) {
  Capture& capture = *event->capture;
  if (!capture.active) {
    return c.Fail(cudaErrorCapturedEvent,
                  "cudaStreamWaitEvent: the event was last recorded in a "
                  "capture that has ended");
  }
  if (!capture.valid) {
    return c.Fail(cudaErrorStreamCaptureInvalidated,
                  "cudaStreamWaitEvent: an earlier call spoiled the capture");
  }
  if (stream == &c.null_streams[stream->device]) {
    return c.Spoil(
        capture, cudaErrorStreamCaptureImplicit,
        "cudaStreamWaitEvent: the null stream cannot join a capture");
  }
  if (stream->capture == nullptr) {
    stream->capture = event->capture;
    stream->tails.clear();
    capture.members.push_back(stream);
  } else if (stream->capture != event->capture) {
    stream->capture->valid = false;
    return c.Spoil(capture, cudaErrorStreamCaptureMerge,
                   "cudaStreamWaitEvent: the event is of another capture");
  }
  AddTails(&stream->tails, event->tails);
  return cudaSuccess;
}

cudaError_t WaitEvent(Context& c, cudaStream_t handle, CUevent_st* event) {
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr) {
    return c.Fail(cudaErrorInvalidResourceHandle,
                  "cudaStreamWaitEvent: the stream is none");
  }
  if (event->capture != nullptr) return WaitInCapture(c, stream, event);
  if (stream->capture != nullptr) {
    return c.Spoil(*stream->capture, cudaErrorStreamCaptureIsolation,
                   "cudaStreamWaitEvent: the stream is under capture, the "
                   "event is not of it");
  }
  if (event->last == nullptr || event->last->done) return cudaSuccess;
  c.Append(stream, Point("cudaStreamWaitEvent"), {event->last});
  return cudaSuccess;
}

// Of a call that asks whether an event has come.
cudaError_t RefuseCaptured(Context& c, CUevent_st* event, const char* what) {
  if (event->capture == nullptr) return cudaSuccess;
  const std::string why = Text(what, ": the event was recorded in a capture");
  if (!event->capture->active) return c.Fail(cudaErrorCapturedEvent, why);
  return c.Spoil(*event->capture, cudaErrorCapturedEvent, why);
}

cudaError_t Elapsed(Context& c, float* ms, CUevent_st* start, CUevent_st* end) {
  if (ms == nullptr) {
    return c.Fail(cudaErrorInvalidValue, "cudaEventElapsedTime: null");
  }
  for (CUevent_st* event : {start, end}) {
    if (!event->timed || event->last == nullptr) {
      return c.Fail(cudaErrorInvalidResourceHandle,
                    "cudaEventElapsedTime: an event without timing, or not "
                    "recorded");
    }
    if (!event->last->done) return cudaErrorNotReady;
  }
  *ms = std::chrono::duration<float, std::milli>(end->last->finished -
                                                 start->last->finished)
            .count();
  return cudaSuccess;
}

// Runs `body` on a live event.
template <typename Body>
cudaError_t WithEvent(const char* name, cudaEvent_t event, Body body) {
  return Api(name, [&](Context& c) {
    return c.events.count(event) > 0 ? body(c) : NoEvent(c, name);
  });
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;
using cuda_host::WithEvent;

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return Api("cudaEventCreate", [&](Context& c) {
    return cuda_host::Create(c, event, cudaEventDefault);
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return Api("cudaEventCreateWithFlags",
             [&](Context& c) { return cuda_host::Create(c, event, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return WithEvent("cudaEventDestroy", event, [&](Context& c) {
    c.events.erase(event);
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return WithEvent("cudaEventRecord", event, [&](Context& c) {
    return cuda_host::RecordEvent(c, event, stream);
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event,
                                unsigned int) {
  return WithEvent("cudaStreamWaitEvent", event, [&](Context& c) {
    return cuda_host::WaitEvent(c, stream, event);
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return WithEvent("cudaEventSynchronize", event, [&](Context& c) {
    const cudaError_t code =
        cuda_host::RefuseCaptured(c, event, "cudaEventSynchronize");
    if (code != cudaSuccess) return code;
    ++c.counters.synchronizations;
    return c.WaitFor(event->last);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return WithEvent("cudaEventQuery", event, [&](Context& c) {
    cudaError_t code = cuda_host::RefuseCaptured(c, event, "cudaEventQuery");
    if (code != cudaSuccess) return code;
    if (event->last == nullptr || event->last->done) return cudaSuccess;
    code = c.Progress();
    if (code != cudaSuccess) return code;
    return event->last->done ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start,
                                 cudaEvent_t end) {
  return WithEvent("cudaEventElapsedTime", start, [&](Context& c) {
    if (c.events.count(end) == 0) {
      return cuda_host::NoEvent(c, "cudaEventElapsedTime");
    }
    return cuda_host::Elapsed(c, ms, start, end);
  });
}

}  // extern "C"

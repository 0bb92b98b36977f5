// Copies and fills. Addresses are checked at the call, and again when the work
// runs, since what they name may be gone by then. Host memory is read and
// written when the work runs.
//
// Tested by tests/cuda/runtime_standins_test.cc.
#include <cstring>
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// Rows of bytes; a plain copy has one.
struct Copy {
  char* dst = nullptr;
  size_t dst_pitch = 0;
  const char* src = nullptr;
  size_t src_pitch = 0;
  size_t width = 0;
  size_t height = 1;
  bool to_device = false;
  bool from_device = false;

  size_t DstBytes() const { return (height - 1) * dst_pitch + width; }
  size_t SrcBytes() const { return (height - 1) * src_pitch + width; }
};

// What is wrong with one side of a copy; "" if nothing.
std::string CheckSide(AddressSpace& memory, const char* p, size_t bytes,
                      bool is_device, Moment moment) {
  if (is_device) return memory.Check(p, bytes, MemoryKind::kDevice, moment);
  // Pageable memory is the caller's own; pinned memory is known.
  if (!memory.Touches(p, bytes)) return p == nullptr ? "null" : "";
  return memory.Check(p, bytes, MemoryKind::kPinned, moment);
}

std::string Check(AddressSpace& memory, const Copy& copy, Moment moment) {
  std::string wrong =
      CheckSide(memory, copy.dst, copy.DstBytes(), copy.to_device, moment);
  if (!wrong.empty()) return "destination: " + wrong;
  wrong =
      CheckSide(memory, copy.src, copy.SrcBytes(), copy.from_device, moment);
  if (!wrong.empty()) return "source: " + wrong;
  if (copy.dst < copy.src + copy.SrcBytes() &&
      copy.src < copy.dst + copy.DstBytes() && copy.height == 1) {
    return "source and destination overlap";
  }
  return "";
}

void Run(Context& c, const Copy& copy) {
  const std::string wrong = Check(c.memory, copy, Moment::kRun);
  if (!wrong.empty()) throw Fault(cudaErrorIllegalAddress, wrong);
  for (size_t row = 0; row < copy.height; ++row) {
    std::memcpy(copy.dst + row * copy.dst_pitch,
                copy.src + row * copy.src_pitch, copy.width);
  }
}

bool IsDevice(Context& c, const void* p) {
  const Region* region = c.memory.Find(p);
  return region != nullptr && region->kind == MemoryKind::kDevice;
}

bool IsPageable(Context& c, const char* p, size_t bytes, bool is_device) {
  return !is_device && !c.memory.Touches(p, bytes);
}

cudaError_t SetKind(Context& c, Copy* copy, cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToHost:
    case cudaMemcpyHostToDevice:
    case cudaMemcpyDeviceToHost:
    case cudaMemcpyDeviceToDevice:
      copy->to_device =
          kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
      copy->from_device =
          kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
      return cudaSuccess;
    case cudaMemcpyDefault:
      copy->to_device = IsDevice(c, copy->dst);
      copy->from_device = IsDevice(c, copy->src);
      return cudaSuccess;
  }
  return c.Fail(cudaErrorInvalidMemcpyDirection, "cudaMemcpy: no such kind");
}

enum class When { kNow, kLater };

cudaError_t EnqueueCopy(Context& c, const char* name, Copy copy,
                        cudaMemcpyKind kind, cudaStream_t stream, When when) {
  cudaError_t code = SetKind(c, &copy, kind);
  if (code != cudaSuccess) return code;
  if (copy.width > copy.dst_pitch || copy.width > copy.src_pitch) {
    return c.Fail(cudaErrorInvalidPitchValue,
                  Text(name, ": a pitch is less than the width"));
  }
  if (when == When::kNow) {
    code = c.RefuseWaitUnderCapture(name);
    if (code != cudaSuccess) return code;
  }
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  const std::string wrong = Check(c.memory, copy, Moment::kCall);
  if (!wrong.empty()) {
    return c.Fail(cudaErrorInvalidValue, Text(name, ": ", wrong));
  }
  if (when == When::kLater &&
      (IsPageable(c, copy.dst, copy.DstBytes(), copy.to_device) ||
       IsPageable(c, copy.src, copy.SrcBytes(), copy.from_device))) {
    ++c.counters.pageable_copies;
    CUstream_st* s = c.Resolve(stream);
    if (s != nullptr && s->capture != nullptr) {
      return c.Spoil(*s->capture, cudaErrorStreamCaptureUnsupported,
                     Text(name, ": memory that is not pinned, under capture"));
    }
  }
  Work work;
  work.kind = Work::Kind::kCopy;
  work.name = name;
  work.run = [&c, copy] {
    Run(c, copy);
    const int64_t bytes = copy.width * copy.height;
    if (copy.to_device && !copy.from_device)
      c.counters.bytes_to_device += bytes;
    if (copy.from_device && !copy.to_device) c.counters.bytes_to_host += bytes;
  };
  code = c.Enqueue(stream, std::move(work));
  if (code != cudaSuccess || when == When::kLater) return code;
  ++c.counters.synchronizations;
  return c.WaitFor(c.Resolve(stream)->last);
}

Copy Plain(void* dst, const void* src, size_t count) {
  Copy copy;
  copy.dst = static_cast<char*>(dst);
  copy.src = static_cast<const char*>(src);
  copy.width = copy.dst_pitch = copy.src_pitch = count;
  return copy;
}

Copy Rows(void* dst, size_t dpitch, const void* src, size_t spitch,
          size_t width, size_t height) {
  Copy copy = Plain(dst, src, width);
  copy.dst_pitch = dpitch;
  copy.src_pitch = spitch;
  copy.height = height;
  return copy;
}

cudaError_t EnqueueFill(Context& c, const char* name, void* p, int value,
                        size_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const std::string wrong =
      c.memory.Check(p, count, MemoryKind::kDevice, Moment::kCall);
  if (!wrong.empty()) {
    return c.Fail(cudaErrorInvalidValue, Text(name, ": ", wrong));
  }
  Work work;
  work.kind = Work::Kind::kFill;
  work.name = name;
  work.run = [&c, p, value, count] {
    const std::string now =
        c.memory.Check(p, count, MemoryKind::kDevice, Moment::kRun);
    if (!now.empty()) throw Fault(cudaErrorIllegalAddress, now);
    std::memset(p, value, count);
  };
  return c.Enqueue(stream, std::move(work));
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;
using cuda_host::EnqueueCopy;
using cuda_host::EnqueueFill;
using cuda_host::When;

extern "C" {

cudaError_t cudaMemcpy(void* dst, const void* src, size_t count,
                       enum cudaMemcpyKind kind) {
  return Api("cudaMemcpy", [&](Context& c) {
    return EnqueueCopy(c, "cudaMemcpy", cuda_host::Plain(dst, src, count), kind,
                       nullptr, When::kNow);
  });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t count,
                            enum cudaMemcpyKind kind, cudaStream_t stream) {
  return Api("cudaMemcpyAsync", [&](Context& c) {
    return EnqueueCopy(c, "cudaMemcpyAsync", cuda_host::Plain(dst, src, count),
                       kind, stream, When::kLater);
  });
}

cudaError_t cudaMemcpy2D(void* dst, size_t dpitch, const void* src,
                         size_t spitch, size_t width, size_t height,
                         enum cudaMemcpyKind kind) {
  return Api("cudaMemcpy2D", [&](Context& c) {
    return EnqueueCopy(c, "cudaMemcpy2D",
                       cuda_host::Rows(dst, dpitch, src, spitch, width, height),
                       kind, nullptr, When::kNow);
  });
}

cudaError_t cudaMemcpy2DAsync(void* dst, size_t dpitch, const void* src,
                              size_t spitch, size_t width, size_t height,
                              enum cudaMemcpyKind kind, cudaStream_t stream) {
  return Api("cudaMemcpy2DAsync", [&](Context& c) {
    return EnqueueCopy(c, "cudaMemcpy2DAsync",
                       cuda_host::Rows(dst, dpitch, src, spitch, width, height),
                       kind, stream, When::kLater);
  });
}

// As the genuine one on device memory: it need not have run on return.
cudaError_t cudaMemset(void* devPtr, int value, size_t count) {
  return Api("cudaMemset", [&](Context& c) {
    return EnqueueFill(c, "cudaMemset", devPtr, value, count, nullptr);
  });
}

cudaError_t cudaMemsetAsync(void* devPtr, int value, size_t count,
                            cudaStream_t stream) {
  return Api("cudaMemsetAsync", [&](Context& c) {
    return EnqueueFill(c, "cudaMemsetAsync", devPtr, value, count, stream);
  });
}

}  // extern "C"

// Allocation of device and pinned memory.
// Tested by tests/cuda/runtime_standins_test.cc.
#include <utility>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// Null, with the error in c.message, if the device has no such memory left.
Region* AllocateDevice(Context& c, size_t bytes) {
  const size_t used = c.memory.LiveBytes(CurrentDevice());
  const size_t total = c.settings.memory_bytes;
  const size_t free = total > used ? total - used : 0;
  Region* region = bytes <= free ? c.memory.Allocate(MemoryKind::kDevice,
                                                     CurrentDevice(), bytes)
                                 : nullptr;
  if (region == nullptr) {
    c.message = Text(bytes, " bytes of device memory are not to be had: ", used,
                     " of ", total, " are taken");
  }
  return region;
}

cudaError_t Malloc(Context& c, void** out, size_t bytes) {
  if (out == nullptr) return c.Fail(cudaErrorInvalidValue, "cudaMalloc: null");
  const cudaError_t code = c.RefuseUnderCapture("cudaMalloc");
  if (code != cudaSuccess) return code;
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  Region* region = AllocateDevice(c, bytes);
  if (region == nullptr) return cudaErrorMemoryAllocation;
  *out = region->base;
  return cudaSuccess;
}

// The live region that begins at `p`; null, with the error, if there is none.
Region* ToFree(Context& c, void* p, MemoryKind kind, const char* what) {
  Region* region = c.memory.Find(p);
  if (region != nullptr && region->base == p && region->kind == kind &&
      !region->released) {
    return region;
  }
  c.message =
      Text(what, ": ", p, " is not the beginning of what was allocated",
           region != nullptr && region->released ? ", or freed already" : "",
           ": ", c.memory.Describe(p));
  return nullptr;
}

cudaError_t Free(Context& c, void* p) {
  if (p == nullptr) return cudaSuccess;
  cudaError_t code = c.RefuseUnderCapture("cudaFree");
  if (code != cudaSuccess) return code;
  Region* region = ToFree(c, p, MemoryKind::kDevice, "cudaFree");
  if (region == nullptr) return cudaErrorInvalidValue;
  // As the genuine one, this waits for the device, but not for memory that was
  // allocated in stream order.
  if (!region->stream_ordered) code = c.WaitForAll();
  if (code == cudaSuccess) c.memory.Free(region);
  return code;
}

cudaError_t MallocAsync(Context& c, void** out, size_t bytes,
                        cudaStream_t stream) {
  if (out == nullptr) {
    return c.Fail(cudaErrorInvalidValue, "cudaMallocAsync: null");
  }
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  Region* region = AllocateDevice(c, bytes);
  if (region == nullptr) return cudaErrorMemoryAllocation;
  region->stream_ordered = true;
  region->usable = false;
  char* base = region->base;
  Work work;
  work.kind = Work::Kind::kAllocate;
  work.name = "cudaMallocAsync";
  work.run = [&c, base] {
    Region* r = c.memory.Find(base);
    if (r != nullptr) r->usable = true;  // else freed without a wait
  };
  const cudaError_t code = c.Enqueue(stream, std::move(work));
  if (code != cudaSuccess) {
    c.memory.Free(region);
    return code;
  }
  *out = base;
  return cudaSuccess;
}

cudaError_t FreeAsync(Context& c, void* p, cudaStream_t stream) {
  if (p == nullptr) return cudaSuccess;
  Region* region = ToFree(c, p, MemoryKind::kDevice, "cudaFreeAsync");
  if (region == nullptr) return cudaErrorInvalidValue;
  if (!region->stream_ordered) {
    return c.Fail(cudaErrorInvalidValue,
                  Text("cudaFreeAsync: ", c.memory.Describe(p),
                       " was not allocated by cudaMallocAsync"));
  }
  Work work;
  work.kind = Work::Kind::kFree;
  work.name = "cudaFreeAsync";
  work.run = [&c, p] {
    const std::string wrong =
        c.memory.Check(p, 1, MemoryKind::kDevice, Moment::kRun);
    if (!wrong.empty()) throw Fault(cudaErrorIllegalAddress, wrong);
    c.memory.Free(c.memory.Find(p));
  };
  const cudaError_t code = c.Enqueue(stream, std::move(work));
  if (code == cudaSuccess) region->released = true;
  return code;
}

cudaError_t MallocHost(Context& c, void** out, size_t bytes,
                       unsigned int flags) {
  const cudaError_t code = c.RefuseUnderCapture("cudaMallocHost");
  if (code != cudaSuccess) return code;
  if (out == nullptr || flags > 7) {
    return c.Fail(cudaErrorInvalidValue, "cudaHostAlloc: null or flags");
  }
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  Region* region =
      c.memory.Allocate(MemoryKind::kPinned, CurrentDevice(), bytes);
  if (region == nullptr) return cudaErrorMemoryAllocation;
  *out = region->base;
  return cudaSuccess;
}

cudaError_t FreeHost(Context& c, void* p) {
  if (p == nullptr) return cudaSuccess;
  cudaError_t code = c.RefuseUnderCapture("cudaFreeHost");
  if (code != cudaSuccess) return code;
  Region* region = ToFree(c, p, MemoryKind::kPinned, "cudaFreeHost");
  if (region == nullptr) return cudaErrorInvalidValue;
  code = c.WaitForAll();
  if (code == cudaSuccess) c.memory.Free(region);
  return code;
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;

extern "C" {

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return Api("cudaMemGetInfo", [&](Context& c) {
    if (free == nullptr || total == nullptr) {
      return c.Fail(cudaErrorInvalidValue, "cudaMemGetInfo: null");
    }
    const size_t used = c.memory.LiveBytes(cuda_host::CurrentDevice());
    *total = c.settings.memory_bytes;
    *free = *total > used ? *total - used : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaMalloc(void** devPtr, size_t size) {
  return Api("cudaMalloc",
             [&](Context& c) { return cuda_host::Malloc(c, devPtr, size); });
}

cudaError_t cudaFree(void* devPtr) {
  return Api("cudaFree",
             [&](Context& c) { return cuda_host::Free(c, devPtr); });
}

cudaError_t cudaMallocAsync(void** devPtr, size_t size, cudaStream_t hStream) {
  return Api("cudaMallocAsync", [&](Context& c) {
    return cuda_host::MallocAsync(c, devPtr, size, hStream);
  });
}

cudaError_t cudaFreeAsync(void* devPtr, cudaStream_t hStream) {
  return Api("cudaFreeAsync", [&](Context& c) {
    return cuda_host::FreeAsync(c, devPtr, hStream);
  });
}

cudaError_t cudaMallocHost(void** ptr, size_t size) {
  return Api("cudaMallocHost", [&](Context& c) {
    return cuda_host::MallocHost(c, ptr, size, cudaHostAllocDefault);
  });
}

cudaError_t cudaHostAlloc(void** pHost, size_t size, unsigned int flags) {
  return Api("cudaHostAlloc", [&](Context& c) {
    return cuda_host::MallocHost(c, pHost, size, flags);
  });
}

cudaError_t cudaFreeHost(void* ptr) {
  return Api("cudaFreeHost",
             [&](Context& c) { return cuda_host::FreeHost(c, ptr); });
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes* attributes,
                                     const void* ptr) {
  return Api("cudaPointerGetAttributes", [&](Context& c) {
    if (attributes == nullptr) {
      return c.Fail(cudaErrorInvalidValue, "cudaPointerGetAttributes: null");
    }
    *attributes = {};
    attributes->hostPointer = const_cast<void*>(ptr);
    const cuda_host::Region* region = c.memory.Find(ptr);
    if (region == nullptr || ptr == region->base + region->bytes) {
      attributes->type = cudaMemoryTypeUnregistered;
      attributes->device = -2;
      return cudaSuccess;
    }
    const bool is_device = region->kind == cuda_host::MemoryKind::kDevice;
    attributes->type = is_device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    attributes->device = region->device;
    attributes->devicePointer = const_cast<void*>(ptr);
    if (is_device) attributes->hostPointer = nullptr;
    return cudaSuccess;
  });
}

}  // extern "C"

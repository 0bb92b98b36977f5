// Launches of kernels: limits at the call, arguments when the kernel runs.
//
// A GPU cannot follow a pointer into the program's heap or stack; the host, on
// which kernels run here, can. So arguments are searched for such addresses:
// those that are pointers, and any 8 bytes of a struct that look like one. To
// look like one they must be far from what small integers and floats make when
// two of them stand side by side, and the address must be mapped.
//
// Tested by tests/cuda/runtime_launches_test.cc.
#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "cuda_host/engine.h"
#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_limits.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// Programs, heaps and stacks of 64-bit Linux begin above this; the shadow of a
// sanitizer lies below.
constexpr uint64_t kFirstAddress = uint64_t{0x5000} << 32;

bool IsMapped(uint64_t address) {
  void* page = reinterpret_cast<void*>(address & ~uint64_t{4095});
  return address >= kFirstAddress && msync(page, 1, MS_ASYNC) == 0;
}

// What is wrong with an address that a kernel was given; "" if nothing.
std::string CheckAddress(AddressSpace& memory, uint64_t address,
                         bool is_pointer) {
  if (address == 0) return "";
  const void* p = reinterpret_cast<const void*>(address);
  if (memory.Find(p) != nullptr) return "";
  if (!is_pointer && !IsMapped(address)) return "";
  return memory.Describe(p);
}

void CheckArguments(Context& c, const std::vector<Argument>& arguments) {
  if (!c.settings.check_arguments) return;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    if (!argument.is_pointer && !kClearsPadding) continue;
    const char* bytes = static_cast<const char*>(argument.bytes);
    for (size_t at = 0; at + 8 <= argument.size; at += 8) {
      uint64_t word;
      std::memcpy(&word, bytes + at, 8);
      const std::string wrong =
          CheckAddress(c.memory, word, argument.is_pointer);
      if (wrong.empty()) continue;
      throw Fault(cudaErrorIllegalAddress,
                  Text("argument ", i, argument.is_pointer ? "" : ", at byte ",
                       argument.is_pointer ? "" : std::to_string(at),
                       " is the address of ", wrong));
    }
  }
}

bool IsWithin(const dim3& d, const int (&limit)[3]) {
  const unsigned values[3] = {d.x, d.y, d.z};
  for (int i = 0; i < 3; ++i) {
    if (values[i] == 0 || values[i] > static_cast<unsigned>(limit[i])) {
      return false;
    }
  }
  return true;
}

std::string Print(const dim3& d) {
  return Text("(", d.x, ", ", d.y, ", ", d.z, ")");
}

// Attributes that do not change what a kernel computes.
bool IsHarmless(const cudaLaunchAttribute& attribute) {
  switch (attribute.id) {
    case cudaLaunchAttributeIgnore:
    case cudaLaunchAttributePriority:
    case cudaLaunchAttributeProgrammaticStreamSerialization:
      return true;
    case cudaLaunchAttributeClusterDimension:
      return attribute.val.clusterDim.x == 1 &&
             attribute.val.clusterDim.y == 1 && attribute.val.clusterDim.z == 1;
    case cudaLaunchAttributeCooperative:
      return attribute.val.cooperative == 0;
  }
  return false;
}

cudaError_t Check(Context& c, const cudaLaunchConfig_t& config,
                  const void* function, const std::string& name) {
  const uint64_t threads = uint64_t{config.blockDim.x} * config.blockDim.y *
                           uint64_t{config.blockDim.z};
  if (!IsWithin(config.gridDim, kMaxGrid) ||
      !IsWithin(config.blockDim, kMaxBlock) || threads > kMaxBlockThreads) {
    return c.Fail(cudaErrorInvalidConfiguration,
                  Text(name, ": no grid ", Print(config.gridDim), " of blocks ",
                       Print(config.blockDim)));
  }
  const size_t shared = c.kernels.MaxDynamicShared(function);
  if (config.dynamicSmemBytes > shared) {
    return c.Fail(cudaErrorInvalidValue,
                  Text(name, ": ", config.dynamicSmemBytes,
                       " bytes of dynamic shared memory, of ", shared,
                       " that it may have; cudaFuncSetAttribute raises that"));
  }
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (!IsHarmless(config.attrs[i])) {
      return c.Fail(cudaErrorNotSupported,
                    Text(name, ": these stand-ins have no launch attribute ",
                         static_cast<int>(config.attrs[i].id)));
    }
  }
  const CUstream_st* stream = c.Resolve(config.stream);
  if (stream == nullptr || stream->device != CurrentDevice()) {
    return c.Fail(cudaErrorInvalidResourceHandle,
                  Text(name, ": the stream is none, or another device's"));
  }
  const auto due =
      static_cast<cudaError_t>(Context::Due(c.launch_injections, name));
  if (due == cudaSuccess) return cudaSuccess;
  if (IsFatal(due)) c.Die(due, CurrentDevice());
  return c.Fail(due, Text(name, ": a failure that the test asked for"));
}

}  // namespace

cudaError_t LaunchKernel(const cudaLaunchConfig_t& config, Launch launch) {
  return Api("cudaLaunchKernelExC", [&](Context& c) {
    const std::string name = c.kernels.Name(launch.function);
    const cudaError_t code = Check(c, config, launch.function, name);
    if (code != cudaSuccess) return code;
    Work work;
    work.kind = Work::Kind::kKernel;
    work.name =
        Text(name, "<<<", Print(config.gridDim), ", ", Print(config.blockDim),
             ", ", config.dynamicSmemBytes, ">>>");
    work.function = launch.function;
    work.run = [&c, grid = config.gridDim, block = config.blockDim,
                shared = config.dynamicSmemBytes, launch = std::move(launch)] {
      CheckArguments(c, launch.arguments);
      Engine::Get().Run(grid, block, shared, launch.thread_body);
    };
    return c.Enqueue(config.stream, std::move(work));
  });
}

}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;

// Compiled by the host, any kernel is for blocks of any size.
extern "C" cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes* attr,
                                             const void* func) {
  return Api("cudaFuncGetAttributes", [&](Context& c) {
    if (func == nullptr) {
      return c.Fail(cudaErrorInvalidDeviceFunction,
                    "cudaFuncGetAttributes: null");
    }
    *attr = {cuda_host::kMaxBlockThreads};
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaFuncSetAttribute(const void* func,
                                            enum cudaFuncAttribute attr,
                                            int value) {
  return Api("cudaFuncSetAttribute", [&](Context& c) {
    if (func == nullptr) {
      return c.Fail(cudaErrorInvalidDeviceFunction,
                    "cudaFuncSetAttribute: null");
    }
    if (attr == cudaFuncAttributePreferredSharedMemoryCarveout) {
      return value >= -1 && value <= 100
                 ? cudaSuccess
                 : c.Fail(cudaErrorInvalidValue,
                          "cudaFuncSetAttribute: no such carveout");
    }
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        value > cuda_host::kSharedPerBlockOptin) {
      return c.Fail(cudaErrorInvalidValue,
                    cuda_host::Text("cudaFuncSetAttribute: ", value,
                                    " bytes of dynamic shared memory, of ",
                                    cuda_host::kSharedPerBlockOptin));
    }
    c.kernels.SetMaxDynamicShared(func, value);
    return cudaSuccess;
  });
}

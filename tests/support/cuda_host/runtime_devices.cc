// What the devices are: Hopper in every figure a launch depends on.
// Tested by tests/cuda/runtime_standins_test.cc.
#include <cuda.h>

#include <cstring>
#include <map>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_limits.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

const std::map<cudaDeviceAttr, int>& Attributes() {
  static const auto* const values = new std::map<cudaDeviceAttr, int>{
      {cudaDevAttrMaxThreadsPerBlock, kMaxBlockThreads},
      {cudaDevAttrMaxBlockDimX, kMaxBlock[0]},
      {cudaDevAttrMaxBlockDimY, kMaxBlock[1]},
      {cudaDevAttrMaxBlockDimZ, kMaxBlock[2]},
      {cudaDevAttrMaxGridDimX, kMaxGrid[0]},
      {cudaDevAttrMaxGridDimY, kMaxGrid[1]},
      {cudaDevAttrMaxGridDimZ, kMaxGrid[2]},
      {cudaDevAttrMaxSharedMemoryPerBlock, kSharedPerBlock},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrMaxRegistersPerBlock, 65536},
      {cudaDevAttrMultiProcessorCount, kMultiprocessors},
      {cudaDevAttrL2CacheSize, 50 << 20},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrComputeCapabilityMajor, 9},
      {cudaDevAttrComputeCapabilityMinor, 0},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 * 1024},
      {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, kSharedPerBlockOptin},
      {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
      {cudaDevAttrReservedSharedMemoryPerBlock, 1024},
      {cudaDevAttrMemoryPoolsSupported, 1},
  };
  return *values;
}

cudaDeviceProp Properties(const Settings& settings, int device) {
  const auto& a = Attributes();
  cudaDeviceProp p = {};
  std::strncpy(p.name, "CUDA stand-in (host)", sizeof(p.name) - 1);
  p.totalGlobalMem = settings.memory_bytes;
  p.sharedMemPerBlock = kSharedPerBlock;
  p.sharedMemPerBlockOptin = kSharedPerBlockOptin;
  p.sharedMemPerMultiprocessor =
      a.at(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  p.reservedSharedMemPerBlock = a.at(cudaDevAttrReservedSharedMemoryPerBlock);
  p.regsPerBlock = a.at(cudaDevAttrMaxRegistersPerBlock);
  p.regsPerMultiprocessor = a.at(cudaDevAttrMaxRegistersPerMultiprocessor);
  p.warpSize = a.at(cudaDevAttrWarpSize);
  p.maxThreadsPerBlock = kMaxBlockThreads;
  for (int i = 0; i < 3; ++i) {
    p.maxThreadsDim[i] = kMaxBlock[i];
    p.maxGridSize[i] = kMaxGrid[i];
  }
  p.major = settings.capability_major;
  p.minor = a.at(cudaDevAttrComputeCapabilityMinor);
  p.multiProcessorCount = kMultiprocessors;
  p.concurrentKernels = 1;
  p.pciBusID = 1 + device;
  p.unifiedAddressing = 1;
  p.memoryBusWidth = 5120;
  p.l2CacheSize = a.at(cudaDevAttrL2CacheSize);
  p.maxThreadsPerMultiProcessor = a.at(cudaDevAttrMaxThreadsPerMultiProcessor);
  p.maxBlocksPerMultiProcessor = a.at(cudaDevAttrMaxBlocksPerMultiprocessor);
  return p;
}

bool IsDevice(Context& c, int device) {
  return device >= 0 && device < c.settings.devices;
}

cudaError_t NoSuchDevice(Context& c, const char* what, int device) {
  return c.Fail(cudaErrorInvalidDevice, Text(what, ": no device ", device));
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Api;
using cuda_host::Context;
using cuda_host::Needs;
using cuda_host::NoSuchDevice;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return Api("cudaGetDeviceCount", [&](Context& c) {
    *count = c.settings.devices;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  // Also from a device that is dead.
  return Api(
      "cudaSetDevice",
      [&](Context& c) {
        if (c.settings.devices == 0) {
          return c.Fail(cudaErrorNoDevice, "cudaSetDevice: there is no device");
        }
        if (!cuda_host::IsDevice(c, device)) {
          return NoSuchDevice(c, "cudaSetDevice", device);
        }
        cuda_host::CurrentDevice() = device;
        return c.Dead();
      },
      Needs::kNothing);
}

cudaError_t cudaGetDevice(int* device) {
  return Api("cudaGetDevice", [&](Context&) {
    *device = cuda_host::CurrentDevice();
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp* prop, int device) {
  return Api("cudaGetDeviceProperties", [&](Context& c) {
    if (!cuda_host::IsDevice(c, device)) {
      return NoSuchDevice(c, "cudaGetDeviceProperties", device);
    }
    *prop = cuda_host::Properties(c.settings, device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, enum cudaDeviceAttr attr,
                                   int device) {
  return Api("cudaDeviceGetAttribute", [&](Context& c) {
    if (!cuda_host::IsDevice(c, device)) {
      return NoSuchDevice(c, "cudaDeviceGetAttribute", device);
    }
    auto it = cuda_host::Attributes().find(attr);
    if (it == cuda_host::Attributes().end()) {
      return c.Fail(cudaErrorInvalidValue,
                    cuda_host::Text("cudaDeviceGetAttribute: these stand-ins "
                                    "do not know attribute ",
                                    static_cast<int>(attr)));
    }
    *value = it->second;
    if (attr == cudaDevAttrComputeCapabilityMajor) {
      *value = c.settings.capability_major;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* leastPriority,
                                             int* greatestPriority) {
  return Api("cudaDeviceGetStreamPriorityRange", [&](Context&) {
    *leastPriority = 0;
    *greatestPriority = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* runtimeVersion) {
  return Api(
      "cudaRuntimeGetVersion",
      [&](Context&) {
        *runtimeVersion = CUDART_VERSION;
        return cudaSuccess;
      },
      Needs::kNothing);
}

// 0 where there is no driver, as where there is no device.
cudaError_t cudaDriverGetVersion(int* driverVersion) {
  return Api(
      "cudaDriverGetVersion",
      [&](Context& c) {
        *driverVersion = c.settings.devices == 0 ? 0 : CUDART_VERSION;
        return cudaSuccess;
      },
      Needs::kNothing);
}

cudaError_t cudaGetDriverEntryPointByVersion(
    const char* symbol, void** funcPtr, unsigned int cudaVersion,
    unsigned long long flags,
    enum cudaDriverEntryPointQueryResult* driverStatus) {
  return Api("cudaGetDriverEntryPointByVersion", [&](Context& c) {
    if (flags != cudaEnableDefault || cudaVersion > CUDART_VERSION) {
      return c.Fail(cudaErrorInvalidValue,
                    "cudaGetDriverEntryPointByVersion: flags or version");
    }
    const bool is_known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
    *driverStatus = is_known ? cudaDriverEntryPointSuccess
                             : cudaDriverEntryPointSymbolNotFound;
    *funcPtr =
        is_known ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize(void) {
  return Api("cudaDeviceSynchronize", [&](Context& c) {
    const cudaError_t code = c.RefuseWaitUnderCapture("cudaDeviceSynchronize");
    if (code != cudaSuccess) return code;
    ++c.counters.synchronizations;
    return c.WaitForAll();
  });
}

}  // extern "C"

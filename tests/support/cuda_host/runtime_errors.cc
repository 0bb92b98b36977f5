// Names of error codes, and the sentence for each.
// Tested by tests/cuda/runtime_standins_test.cc.
#include <cuda_runtime.h>

namespace {

struct Entry {
  cudaError_t code;
  const char* name;
  const char* text;
};

constexpr Entry kErrors[] = {
#define CUDA_HOST_ERROR(code, text) \
  { code, #code, text }
    CUDA_HOST_ERROR(cudaSuccess, "no error"),
    CUDA_HOST_ERROR(cudaErrorInvalidValue, "invalid argument"),
    CUDA_HOST_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    CUDA_HOST_ERROR(cudaErrorInitializationError, "initialization error"),
    CUDA_HOST_ERROR(cudaErrorInvalidConfiguration,
                    "invalid configuration argument"),
    CUDA_HOST_ERROR(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    CUDA_HOST_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    CUDA_HOST_ERROR(cudaErrorInvalidMemcpyDirection,
                    "invalid copy direction for memcpy"),
    CUDA_HOST_ERROR(cudaErrorInsufficientDriver,
                    "CUDA driver version is insufficient for CUDA runtime "
                    "version"),
    CUDA_HOST_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    CUDA_HOST_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    CUDA_HOST_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    CUDA_HOST_ERROR(cudaErrorNoKernelImageForDevice,
                    "no kernel image is available for execution on the device"),
    CUDA_HOST_ERROR(cudaErrorECCUncorrectable,
                    "uncorrectable ECC error encountered"),
    CUDA_HOST_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    CUDA_HOST_ERROR(cudaErrorIllegalState,
                    "the operation cannot be performed in the present state"),
    CUDA_HOST_ERROR(cudaErrorNotReady, "device not ready"),
    CUDA_HOST_ERROR(cudaErrorIllegalAddress,
                    "an illegal memory access was encountered"),
    CUDA_HOST_ERROR(cudaErrorLaunchOutOfResources,
                    "too many resources requested for launch"),
    CUDA_HOST_ERROR(cudaErrorLaunchTimeout,
                    "the launch timed out and was terminated"),
    CUDA_HOST_ERROR(cudaErrorAssert, "device-side assert triggered"),
    CUDA_HOST_ERROR(cudaErrorHardwareStackError, "hardware stack error"),
    CUDA_HOST_ERROR(cudaErrorIllegalInstruction,
                    "an illegal instruction was encountered"),
    CUDA_HOST_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    CUDA_HOST_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    CUDA_HOST_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    CUDA_HOST_ERROR(cudaErrorNotSupported, "operation not supported"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureUnsupported,
                    "operation not permitted when stream is capturing"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureInvalidated,
                    "operation failed due to a previous error during capture"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureMerge,
                    "operation would result in a merge of separate capture "
                    "sequences"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureUnmatched,
                    "capture was not ended in the same stream as it began"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureUnjoined,
                    "capturing stream has unjoined work"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureIsolation,
                    "dependency created on uncaptured work in another stream"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureImplicit,
                    "operation would make the legacy stream depend on a "
                    "capturing blocking stream"),
    CUDA_HOST_ERROR(cudaErrorCapturedEvent,
                    "operation not permitted on an event last recorded in a "
                    "capturing stream"),
    CUDA_HOST_ERROR(cudaErrorStreamCaptureWrongThread,
                    "attempt to terminate a thread-local capture sequence "
                    "from another thread"),
    CUDA_HOST_ERROR(cudaErrorGraphExecUpdateFailure,
                    "the graph update was not performed because it included "
                    "changes which violated constraints"),
    CUDA_HOST_ERROR(cudaErrorUnknown, "unknown error"),
#undef CUDA_HOST_ERROR
};

const Entry* Find(cudaError_t code) {
  for (const Entry& entry : kErrors) {
    if (entry.code == code) return &entry;
  }
  return nullptr;
}

}  // namespace

extern "C" {

const char* cudaGetErrorName(cudaError_t error) {
  const Entry* entry = Find(error);
  return entry == nullptr ? "unrecognized error code" : entry->name;
}

const char* cudaGetErrorString(cudaError_t error) {
  const Entry* entry = Find(error);
  return entry == nullptr ? "unrecognized error code" : entry->text;
}

}  // extern "C"

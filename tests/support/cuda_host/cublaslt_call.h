// The frame of a cuBLASLt call, as Api (runtime_context.h) is of the runtime's,
// and what the library's opaque structs hold.
// Threads: any; each call holds the runtime's lock.
// Errors:  a Verdict from the call's body becomes its status and its message.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_CALL_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_CALL_H_

#include <cublasLt.h>

#include <cstring>
#include <mutex>

#include "cuda_host/cublaslt_problem.h"
#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {

inline cublasStatus_t StatusOf(cudaError_t code) {
  switch (code) {
    case cudaErrorNoDevice:
      return CUBLAS_STATUS_NOT_INITIALIZED;
    case cudaErrorMemoryAllocation:
      return CUBLAS_STATUS_ALLOC_FAILED;
    default:
      return CUBLAS_STATUS_EXECUTION_FAILED;
  }
}

// The frame of a call, as Api is of the runtime's.
template <typename Body>
cublasStatus_t Lt(const char* name, Body body, Needs needs = Needs::kDevice) {
  Context& c = Context::Get();
  std::lock_guard<std::recursive_mutex> hold(c.lock);
  const cudaError_t code = Enter(c, name, needs);
  const Verdict verdict =
      code == cudaSuccess ? body(c) : Verdict{StatusOf(code), c.message};
  if (!verdict.ok()) {
    c.gemm_error = Text(name, ": ", verdict.why);
    c.message = c.gemm_error;
  }
  return verdict.status;
}

template <typename... Parts>
Verdict Invalid(const Parts&... why) {
  return {CUBLAS_STATUS_INVALID_VALUE, Text(why...)};
}

// An opaque struct's content; false if it was never made, or destroyed.
template <typename Data, typename Opaque>
bool Read(const Opaque* opaque, Data* data) {
  static_assert(sizeof(Data) <= sizeof(Opaque));
  if (opaque == nullptr) return false;
  std::memcpy(static_cast<void*>(data), opaque, sizeof(Data));
  return data->magic == Data::kMagic;
}

template <typename Data, typename Opaque>
void Write(const Data& data, Opaque* opaque) {
  std::memcpy(opaque, &data, sizeof(Data));
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_CALL_H_

// NewCudaBackends: GPUs, each a rank. Weights and the cache are in their own
// memory, activations are float32, products are of bf16 operands.
// Errors:  UNAVAILABLE, with the reason, where there are not so many GPUs to
//          use; FAILED_PRECONDITION where they are not of one kind, or the
//          build has no NCCL for several; UNIMPLEMENTED from a build without
//          CUDA.
#ifndef MLA_RUNTIME_CUDA_CUDA_BACKEND_H_
#define MLA_RUNTIME_CUDA_CUDA_BACKEND_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/backend.h"
#include "runtime/cuda/options.h"

namespace mla::runtime {

// "cuda", or of tests that execute it on the host, "cuda-host".
extern const char* const kCudaBackendName;

// The first `count` GPUs.
absl::StatusOr<std::vector<std::unique_ptr<Backend>>> NewCudaBackends(
    int count, const CudaOptions& options);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_CUDA_BACKEND_H_

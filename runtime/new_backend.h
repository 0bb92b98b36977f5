// NewBackends: backends by the name that users give it.
// Errors:  INVALID_ARGUMENT names what there is; UNAVAILABLE and
//          FAILED_PRECONDITION say why this machine cannot; UNIMPLEMENTED, why
//          this build cannot.
#ifndef MLA_RUNTIME_NEW_BACKEND_H_
#define MLA_RUNTIME_NEW_BACKEND_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/backend.h"
#include "runtime/cuda/options.h"

namespace mla::runtime {

struct BackendOptions {
  // "auto": "cuda" if that can be used, else "cpu", with a line in the log.
  // "cuda": the first GPUs. "cpu": the best this machine has, or one Isa:
  // cpu-reference, cpu-portable, cpu-avx2, cpu-avx512, cpu-avx512-vnni,
  // cpu-avx512-bf16.
  std::string name = "auto";
  int threads = 0;  // on the CPU; 0: every one that the process may use
  // Among which a model is divided: GPUs, or shares of the CPU's threads.
  int ranks = 1;
  CudaOptions cuda;
};

// One for each rank.
absl::StatusOr<std::vector<std::unique_ptr<Backend>>> NewBackends(
    const BackendOptions& options);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_NEW_BACKEND_H_

// Tested by tests/runtime/loaded_model_test.cc and tests/cuda/.
#include "runtime/new_backend.h"

#include "absl/strings/str_cat.h"
#include "runtime/cpu_backend.h"
#include "runtime/cpu_count.h"
#include "runtime/cuda/cuda_backend.h"
#include "spdlog/spdlog.h"

namespace mla::runtime {

absl::StatusOr<std::unique_ptr<Backend>> NewBackend(
    const BackendOptions& options) {
  const int threads = options.threads > 0 ? options.threads : UsableCpus();
  if (threads > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", threads, ", must be at most 1024"));
  }
  const bool is_auto = options.name == "auto";
  if (is_auto || options.name == kCudaBackendName) {
    absl::StatusOr<std::unique_ptr<Backend>> cuda =
        NewCudaBackend(0, options.cuda);
    if (cuda.ok() || !is_auto) return cuda;
    if (!absl::IsUnimplemented(cuda.status())) {  // this build could
      spdlog::info("on the CPU, since {}",
                   std::string(cuda.status().message()));
    }
  }
  if (is_auto || options.name == "cpu") {
    return NewCpuBackend(kernels::BestIsa(), threads);
  }
  std::string known = absl::StrCat("auto, ", kCudaBackendName, ", cpu");
  for (kernels::Isa isa : kernels::kAllIsas) {
    const std::string name = absl::StrCat("cpu-", kernels::Name(isa));
    absl::StrAppend(&known, ", ", name);
    if (options.name != name) continue;
    if (!kernels::IsSupported(isa)) {
      return absl::FailedPreconditionError(
          absl::StrCat("backend '", name, "': this machine cannot run it"));
    }
    return NewCpuBackend(isa, threads);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("backend '", options.name, "' is not one of ", known));
}

}  // namespace mla::runtime

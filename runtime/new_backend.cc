// Tested by tests/runtime/loaded_model_test.cc and tests/cuda/.
#include "runtime/new_backend.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/cpu_backend.h"
#include "runtime/cpu_count.h"
#include "runtime/cuda/cuda_backend.h"
#include "spdlog/spdlog.h"

namespace mla::runtime {

using Backends = std::vector<std::unique_ptr<Backend>>;

namespace {

Backends CpuRanks(kernels::Isa isa, int threads, int count) {
  const auto meeting = count > 1 ? std::make_shared<HostRanks>(count) : nullptr;
  Backends ranks;
  for (int rank = 0; rank < count; ++rank) {
    ranks.push_back(NewCpuBackend(isa, std::max(threads / count, 1),
                                  {rank, count}, meeting));
  }
  return ranks;
}

}  // namespace

absl::StatusOr<Backends> NewBackends(const BackendOptions& options) {
  const int threads = options.threads > 0 ? options.threads : UsableCpus();
  if (threads > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", threads, ", must be at most 1024"));
  }
  if (options.ranks < 1 || options.ranks > 64) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor parallelism over ", options.ranks, " ranks, must be 1 to 64"));
  }
  const bool is_auto = options.name == "auto";
  if (is_auto || options.name == kCudaBackendName) {
    absl::StatusOr<Backends> cuda =
        NewCudaBackends(options.ranks, options.cuda);
    if (cuda.ok() || !is_auto) return cuda;
    if (!absl::IsUnimplemented(cuda.status())) {  // this build could
      spdlog::info("on the CPU, since {}",
                   std::string(cuda.status().message()));
    }
  }
  if (is_auto || options.name == "cpu") {
    return CpuRanks(kernels::BestIsa(), threads, options.ranks);
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
    return CpuRanks(isa, threads, options.ranks);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("backend '", options.name, "' is not one of ", known));
}

}  // namespace mla::runtime

// In place of the CUDA backend where the program is built without CUDA.
#include "runtime/cuda/cuda_backend.h"

namespace mla::runtime {

const char* const kCudaBackendName = "cuda";

absl::StatusOr<std::vector<std::unique_ptr<Backend>>> NewCudaBackends(
    int, const CudaOptions&) {
  return absl::UnimplementedError(
      "backend 'cuda': this program was built without CUDA; build it where "
      "nvcc is, with -DMLA_CUDA=ON");
}

}  // namespace mla::runtime

// In place of nccl_ranks.cc where the program is built without NCCL.
#include "runtime/cuda/ranks.h"

namespace mla::runtime {

absl::StatusOr<std::shared_ptr<CudaRanks>> CudaRanks::Create(int) {
  return absl::FailedPreconditionError(
      "--tensor-parallel over GPUs needs NCCL, and this program was built "
      "without; build it where nccl.h and libnccl are");
}

}  // namespace mla::runtime

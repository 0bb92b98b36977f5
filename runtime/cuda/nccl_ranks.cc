// Tested by tests/cuda/tensor_parallel_cuda_test.cc.
#include <nccl.h>

#include <cstdlib>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/cuda/ranks.h"

namespace mla::runtime {
namespace {

absl::Status ToStatus(ncclResult_t result, const char* what) {
  if (result == ncclSuccess) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("NCCL, ", what, ": ", ncclGetErrorString(result)));
}

class NcclRanks : public CudaRanks {
 public:
  explicit NcclRanks(std::vector<ncclComm_t> comms)
      : comms_(std::move(comms)) {}
  ~NcclRanks() override {
    for (ncclComm_t comm : comms_) {
      if (comm != nullptr) ncclCommDestroy(comm);
    }
  }

  absl::Status AllGather(int rank, const float* from, float* to, size_t floats,
                         cudaStream_t stream) override {
    if (absl::Status status = failure(); !status.ok()) return status;
    if (comms_[rank] == nullptr) return absl::InternalError("aborted");
    return ToStatus(
        ncclAllGather(from, to, floats, ncclFloat, comms_[rank], stream),
        "ncclAllGather");
  }

  absl::Status Poll(int rank) override {
    if (absl::Status status = failure(); !status.ok()) return status;
    ncclResult_t found = ncclSuccess;
    if (comms_[rank] == nullptr) return absl::OkStatus();
    const absl::Status asked = ToStatus(
        ncclCommGetAsyncError(comms_[rank], &found), "ncclCommGetAsyncError");
    return asked.ok() ? ToStatus(found, "as it ran") : asked;
  }

  void Abort(int rank) override {
    if (comms_[rank] != nullptr) ncclCommAbort(comms_[rank]);
    comms_[rank] = nullptr;
  }

 private:
  std::vector<ncclComm_t> comms_;  // each its rank's
};

}  // namespace

absl::StatusOr<std::shared_ptr<CudaRanks>> CudaRanks::Create(int count) {
  // All connections now, while every rank is well: a call that makes one waits
  // on the host, where nothing could end it.
  setenv("NCCL_RUNTIME_CONNECT", "0", /*overwrite=*/0);
  std::vector<int> devices(count);
  std::iota(devices.begin(), devices.end(), 0);
  std::vector<ncclComm_t> comms(count);
  const absl::Status status = ToStatus(
      ncclCommInitAll(comms.data(), count, devices.data()), "ncclCommInitAll");
  if (!status.ok()) return absl::UnavailableError(status.message());
  return std::make_shared<NcclRanks>(std::move(comms));
}

}  // namespace mla::runtime

// CudaRanks: the GPUs that share one model, and what they send each other, by
// NCCL.
//
// Work that waits for another GPU waits for ever if that one has failed. So
// whoever fails says so with Fail, and whoever waits for its stream asks Poll
// meanwhile; when told, it takes its own communicator down, which ends what is
// on the stream.
// Threads: a rank's calls are its thread's; Fail any.
#ifndef MLA_RUNTIME_CUDA_RANKS_H_
#define MLA_RUNTIME_CUDA_RANKS_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/mutex.h"

namespace mla::runtime {

class CudaRanks {
 public:
  // The first `count` GPUs. FAILED_PRECONDITION from a build without NCCL,
  // UNAVAILABLE where NCCL cannot connect them.
  static absl::StatusOr<std::shared_ptr<CudaRanks>> Create(int count);
  virtual ~CudaRanks() = default;

  // Puts it on the stream that `to` [ranks, floats] becomes what all have in
  // `from` [floats]; every rank calls it with as many.
  virtual absl::Status AllGather(int rank, const float* from, float* to,
                                 size_t floats, cudaStream_t stream) = 0;
  // OK, or why nothing will come any more: what a rank said first, or what NCCL
  // has found.
  virtual absl::Status Poll(int rank) = 0;
  // Ends what the rank still has on its stream; nothing is sent afterwards.
  virtual void Abort(int rank) = 0;

  void Fail(const absl::Status& why) {
    MutexLock lock(&mu_);
    if (failure_.ok()) failure_ = why;
  }

 protected:
  absl::Status failure() const {
    MutexLock lock(&mu_);
    return failure_;
  }

 private:
  mutable Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_RANKS_H_

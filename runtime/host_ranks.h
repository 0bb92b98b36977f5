// HostRanks: where the ranks of one process meet in its memory to add up what
// each has computed.
// Threads: a rank's calls are its thread's; Abandon and status any.
#ifndef MLA_RUNTIME_HOST_RANKS_H_
#define MLA_RUNTIME_HOST_RANKS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/views.h"
#include "runtime/mutex.h"
#include "runtime/part.h"

namespace mla::runtime {

class HostRanks {
 public:
  explicit HostRanks(int ranks) : rows_(ranks) {}

  // Every rank calls it with rows of one shape, and each finds the sum of all
  // in its own, added in the order of the ranks. If one has given up, returns
  // at once, and what is in x is rubbish.
  void Sum(Part rank, kernels::Rows x);

  // The caller takes part no more. REQUIRES: it is not in Sum.
  void Abandon(const absl::Status& why);
  // OK, or why the first gave up.
  absl::Status status() const;

 private:
  // Waits for all. False if one has given up.
  bool Meet();

  mutable Mutex mu_;
  int arrived_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t meetings_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  std::vector<kernels::Rows> rows_;  // each rank's, who alone writes it
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_HOST_RANKS_H_

// Tested by tests/runtime/tensor_parallel_test.cc.
#include "runtime/host_ranks.h"

namespace mla::runtime {

bool HostRanks::Meet() {
  MutexLock lock(&mu_);
  if (!failure_.ok()) return false;
  const uint64_t meeting = meetings_;
  if (++arrived_ == static_cast<int>(rows_.size())) {
    arrived_ = 0;
    ++meetings_;
    return true;
  }
  mu_.Await([&] { return meetings_ != meeting || !failure_.ok(); });
  return meetings_ != meeting;
}

void HostRanks::Sum(Part rank, kernels::Rows x) {
  rows_[rank.index] = x;
  if (!Meet()) return;
  // A share of the columns each, in everybody's rows.
  const int first = static_cast<int>(int64_t{x.cols} * rank.index / rank.count);
  const int end =
      static_cast<int>(int64_t{x.cols} * (rank.index + 1) / rank.count);
  for (int row = 0; row < x.rows; ++row) {
    for (int c = first; c < end; ++c) {
      float sum = rows_[0][row][c];
      for (int r = 1; r < rank.count; ++r) sum += rows_[r][row][c];
      for (int r = 0; r < rank.count; ++r) rows_[r][row][c] = sum;
    }
  }
  Meet();
}

void HostRanks::Abandon(const absl::Status& why) {
  MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = why;
}

absl::Status HostRanks::status() const {
  MutexLock lock(&mu_);
  return failure_;
}

}  // namespace mla::runtime

// RankThreads: a thread for each rank, that always does that rank's work; rank
// 0's is the caller's.
// Threads: Run from one at a time.
// Errors:  what a rank throws, Run throws, of several the first rank's.
#ifndef MLA_RUNTIME_RANK_THREADS_H_
#define MLA_RUNTIME_RANK_THREADS_H_

#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "runtime/mutex.h"

namespace mla::runtime {

class RankThreads {
 public:
  explicit RankThreads(int ranks);
  ~RankThreads();
  RankThreads(const RankThreads&) = delete;
  RankThreads& operator=(const RankThreads&) = delete;

  // work(rank) on every rank's thread at once; returns when all have returned.
  void Run(const std::function<void(int rank)>& work);

 private:
  void Loop(int rank);
  void Do(const std::function<void(int)>& work, int rank);

  Mutex mu_;
  const std::function<void(int)>* work_ ABSL_GUARDED_BY(mu_) = nullptr;
  uint64_t turn_ ABSL_GUARDED_BY(mu_) = 0;
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::exception_ptr> thrown_;  // [ranks], each its rank's
  std::vector<std::thread> threads_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_RANK_THREADS_H_

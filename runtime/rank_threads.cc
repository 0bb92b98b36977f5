// Tested by tests/runtime/tensor_parallel_test.cc.
#include "runtime/rank_threads.h"

namespace mla::runtime {

RankThreads::RankThreads(int ranks) : thrown_(ranks) {
  for (int rank = 1; rank < ranks; ++rank) {
    threads_.emplace_back([this, rank] { Loop(rank); });
  }
}

RankThreads::~RankThreads() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void RankThreads::Run(const std::function<void(int)>& work) {
  if (!threads_.empty()) {
    MutexLock lock(&mu_);
    work_ = &work;
    running_ = static_cast<int>(threads_.size());
    ++turn_;
  }
  Do(work, 0);
  if (!threads_.empty()) {
    MutexLock lock(&mu_);
    mu_.Await([this] { return running_ == 0; });
  }
  for (const std::exception_ptr& thrown : thrown_) {
    if (thrown != nullptr) std::rethrow_exception(thrown);
  }
}

void RankThreads::Do(const std::function<void(int)>& work, int rank) {
  thrown_[rank] = nullptr;
  try {
    work(rank);
  } catch (...) {
    thrown_[rank] = std::current_exception();
  }
}

void RankThreads::Loop(int rank) {
  uint64_t turn = 0;
  while (true) {
    const std::function<void(int)>* work = nullptr;
    {
      MutexLock lock(&mu_);
      mu_.Await([&] { return stopping_ || turn_ != turn; });
      if (stopping_) return;
      turn = turn_;
      work = work_;
    }
    Do(*work, rank);
    MutexLock lock(&mu_);
    --running_;
  }
}

}  // namespace mla::runtime

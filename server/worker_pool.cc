// Tested by tests/server/worker_pool_test.cc.
#include "server/worker_pool.h"

#include <utility>

namespace mla::server {

WorkerPool::WorkerPool(int threads, size_t max_waiting_bytes)
    : max_waiting_bytes_(max_waiting_bytes) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Run(); });
  }
}

WorkerPool::~WorkerPool() {
  {
    runtime::MutexLock lock(&mu_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

bool WorkerPool::TrySubmit(size_t bytes, std::function<void()> task) {
  runtime::MutexLock lock(&mu_);
  if (waiting_bytes_ + bytes > max_waiting_bytes_) return false;
  waiting_bytes_ += bytes;
  waiting_.push_back({bytes, std::move(task)});
  return true;
}

void WorkerPool::Run() {
  while (true) {
    Task task;
    {
      runtime::MutexLock lock(&mu_);
      mu_.Await([this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= task.bytes;
    }
    task.run();
  }
}

}  // namespace mla::server

// WorkerPool runs what would hold up gRPC's few threads: reading and tokenizing
// large requests.
// Owns:    its threads. The destructor runs what still waits.
// Threads: any.
#ifndef MLA_SERVER_WORKER_POOL_H_
#define MLA_SERVER_WORKER_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "runtime/mutex.h"

namespace mla::server {

class WorkerPool {
 public:
  WorkerPool(int threads, size_t max_waiting_bytes);
  ~WorkerPool();

  // `bytes` is what the task keeps in memory. False, and nothing is run, when
  // the tasks that wait would keep too many. Tasks do not throw.
  bool TrySubmit(size_t bytes, std::function<void()> task);

 private:
  struct Task {
    size_t bytes = 0;
    std::function<void()> run;
  };
  void Run();

  const size_t max_waiting_bytes_;
  runtime::Mutex mu_;
  std::deque<Task> waiting_ ABSL_GUARDED_BY(mu_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_WORKER_POOL_H_

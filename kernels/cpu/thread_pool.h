// ThreadPool runs the tasks of one kernel at a time on a fixed set of threads.
// Owns:    size() - 1 worker threads; the caller is the remaining one.
// Threads: Run from one thread at a time (the engine's); tasks run on all.
// Idle workers spin for a few microseconds, since the next kernel of a step
// follows at once, and then sleep, so that an idle server uses no CPU.
#ifndef MLA_KERNELS_CPU_THREAD_POOL_H_
#define MLA_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace mla::kernels {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // at least 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(task, thread) for every task in [0, num_tasks), thread in
  // [0, size()), and returns when all are done. Which thread runs a task is not
  // fixed, so a task's result must not depend on it.
  template <typename Fn>
  void Run(int num_tasks, Fn&& fn) {
    if (num_tasks <= 1 || workers_.empty()) {
      for (int task = 0; task < num_tasks; ++task) fn(task, 0);
      return;
    }
    RunErased(
        num_tasks,
        [](void* f, int task, int thread) {
          (*static_cast<std::remove_reference_t<Fn>*>(f))(task, thread);
        },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Task = void (*)(void* fn, int task, int thread);

  void RunErased(int num_tasks, Task task, void* fn);
  void Work(int thread);  // claims and runs tasks of the current kernel
  void WorkerLoop(int thread);

  std::vector<std::thread> workers_;

  // The current kernel: written by Run before generation_ is bumped.
  Task task_ = nullptr;
  void* fn_ = nullptr;
  int num_tasks_ = 0;

  alignas(64) std::atomic<int> next_task_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> busy_{0};  // workers not yet done
  std::atomic<bool> stopping_{false};
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_THREAD_POOL_H_

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
  // fixed, so a task's result must not depend on it. A worker that the system
  // keeps waiting delays nobody: the others run its share.
  template <typename Fn>
  void Run(int num_tasks, Fn&& fn) {
    if (num_tasks <= 1 || num_tasks > kMaxTasks || workers_.empty()) {
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
  static constexpr int kTaskBits = 20;
  static constexpr int kMaxTasks = (1 << kTaskBits) - 1;

  struct Ticket;
  using Task = void (*)(void* fn, int task, int thread);

  void RunErased(int num_tasks, Task task, void* fn);
  bool RunOne(uint32_t generation, int thread);
  void WorkerLoop(int thread);

  std::vector<std::thread> workers_;

  // The current kernel. Written while no task is left to claim; read by who has
  // claimed one, before it counts as done.
  Task task_ = nullptr;
  void* fn_ = nullptr;

  // Generation, number of tasks and the next one to claim, in one word.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int> done_{0};             // tasks of this generation
  alignas(64) std::atomic<uint32_t> generation_{0};  // what sleepers wait for
  std::atomic<bool> stopping_{false};
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_THREAD_POOL_H_

// One kernel is one generation. Whoever finds a task unclaimed claims it by
// advancing the ticket; Run claims as well, and returns when all tasks are
// done. A worker that wakes late finds nothing to claim and has touched
// nothing: the ticket it read no longer matches. One that has claimed a task
// keeps its generation alive, so the task's function is still there to call.
// Tested by tests/kernels/thread_pool_test.cc.
#include "kernels/cpu/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mla::kernels {
namespace {

// Tens of microseconds: longer than the gap between two kernels of a step,
// shorter than what a neighbour on the core would notice.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

struct ThreadPool::Ticket {
  uint32_t generation;  // its low 24 bits
  int num_tasks;
  int next;

  uint64_t Pack() const {
    return uint64_t{generation & 0xffffffu} << (2 * kTaskBits) |
           static_cast<uint64_t>(num_tasks) << kTaskBits |
           static_cast<uint64_t>(next);
  }
  static Ticket Unpack(uint64_t bits) {
    return {static_cast<uint32_t>(bits >> (2 * kTaskBits)),
            static_cast<int>(bits >> kTaskBits & kMaxTasks),
            static_cast<int>(bits & kMaxTasks)};
  }
};

ThreadPool::ThreadPool(int num_threads) {
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { WorkerLoop(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::RunErased(int num_tasks, Task task, void* fn) {
  task_ = task;
  fn_ = fn;
  done_.store(0, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  ticket_.store(Ticket{generation, num_tasks, 0}.Pack(),
                std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  while (RunOne(generation, 0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) != num_tasks;
       ++spins) {
    if (spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// Claims a task of the generation and runs it; false if there is none left.
bool ThreadPool::RunOne(uint32_t generation, int thread) {
  uint64_t bits = ticket_.load(std::memory_order_acquire);
  Ticket ticket;
  do {
    ticket = Ticket::Unpack(bits);
    if (ticket.generation != (generation & 0xffffffu) ||
        ticket.next == ticket.num_tasks) {
      return false;
    }
  } while (!ticket_.compare_exchange_weak(
      bits, bits + 1, std::memory_order_acq_rel, std::memory_order_acquire));
  task_(fn_, ticket.next, thread);
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  for (;;) {
    uint32_t now;
    for (int spins = 0;
         (now = generation_.load(std::memory_order_acquire)) == seen; ++spins) {
      if (spins < kSpins) {
        Pause();
      } else {
        generation_.wait(seen, std::memory_order_acquire);
      }
    }
    seen = now;
    if (stopping_.load(std::memory_order_relaxed)) return;
    while (RunOne(seen, thread)) {
    }
  }
}

}  // namespace mla::kernels

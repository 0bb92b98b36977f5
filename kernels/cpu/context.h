// CpuContext is what every CPU op needs: an Isa, threads and scratch memory.
// Threads: one caller at a time (the engine's); ops use the pool inside.
#ifndef MLA_KERNELS_CPU_CONTEXT_H_
#define MLA_KERNELS_CPU_CONTEXT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cpu/inner_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace mla::kernels {

// Hands out memory that is given back all at once, or back to a mark. Pointers
// stay valid until then, also when more is taken.
class Scratch {
 public:
  template <typename T>
  T* Take(size_t count) {
    return reinterpret_cast<T*>(TakeBytes(count * sizeof(T)));
  }
  void Reset();

  struct Mark {
    size_t chunk;
    size_t used;
  };
  Mark GetMark() const { return {chunk_, used_}; }
  void Rewind(Mark mark) {
    chunk_ = mark.chunk;
    used_ = mark.used;
  }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  struct Chunk {
    std::unique_ptr<std::byte, Free> data;
    size_t bytes;
  };

  std::byte* TakeBytes(size_t bytes);

  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;  // the one being filled
  size_t used_ = 0;   // of it
};

class CpuContext {
 public:
  // REQUIRES: IsSupported(isa), num_threads >= 1.
  CpuContext(Isa isa, int num_threads)
      : CpuContext(isa, GetInnerKernels(isa), num_threads) {}
  // With inner kernels of the caller's, which a test may count.
  CpuContext(Isa isa, const InnerKernels& inner, int num_threads)
      : isa_(isa), inner_(inner), pool_(num_threads), scratch_(num_threads) {}

  Isa isa() const { return isa_; }
  const InnerKernels& inner() const { return inner_; }
  ThreadPool& pool() { return pool_; }

  // fn(i, thread) for all i in [0, n): on this thread alone where the work, in
  // elements read or written, is not worth waking another.
  template <typename Fn>
  void ForEach(int n, int64_t elements, Fn&& fn) {
    // A claimed task costs about as much as 100 elements: not one for each i.
    const int64_t worth = elements / (kSerialElements / 4);
    const int tasks = static_cast<int>(
        std::min<int64_t>({n, worth, int64_t{pool_.size()} * 8}));
    if (elements < kSerialElements || tasks < 2) {
      for (int i = 0; i < n; ++i) fn(i, 0);
      return;
    }
    pool_.Run(tasks, [&](int task, int thread) {
      const int end = static_cast<int>(int64_t{n} * (task + 1) / tasks);
      for (int i = static_cast<int>(int64_t{n} * task / tasks); i < end; ++i) {
        fn(i, thread);
      }
    });
  }

  // Task-local memory of a pool thread; reset by the task that takes it.
  Scratch& ThreadScratch(int thread) { return scratch_[thread]; }
  // Memory of the op that runs, shared by its tasks.
  Scratch& OpScratch() { return op_scratch_; }

 private:
  static constexpr int64_t kSerialElements = 1 << 14;

  const Isa isa_;
  const InnerKernels& inner_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_;
  Scratch op_scratch_;
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_CONTEXT_H_

// Fiber: a function with a stack of its own, which the thread that runs it can
// leave in the middle and come back to.
// Owns:    what sanitizers keep for it; the stack is the caller's.
// Threads: one, for all fibers that it resumes.
// Errors:  none. An exception must not leave the function.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_FIBER_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_FIBER_H_

#include <cstddef>

namespace cuda_host {

class Fiber {
 public:
  using Function = void (*)(void* argument);

  Fiber() = default;
  ~Fiber() { Discard(); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Does not run it yet.
  void Prepare(char* stack, size_t stack_bytes, Function function,
               void* argument);
  // Runs it from where it is until it suspends itself or its function returns.
  // REQUIRES: called outside of it, and the function has not returned.
  void Resume();
  // REQUIRES: called inside of it.
  void Suspend();
  // Forgets it. What is on its stack is not destroyed.
  void Discard();

 private:
  void Leave(bool for_good);

  void* context_ = nullptr;  // where it is, while it is suspended
  void* resumer_ = nullptr;  // where Resume is, while it runs
  Function function_ = nullptr;
  void* argument_ = nullptr;
  char* stack_ = nullptr;
  size_t stack_bytes_ = 0;

  // ThreadSanitizer's and AddressSanitizer's.
  void* tsan_ = nullptr;
  void* resumer_tsan_ = nullptr;
  void* fake_stack_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_bytes_ = 0;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_FIBER_H_

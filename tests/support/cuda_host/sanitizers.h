// What ThreadSanitizer and AddressSanitizer have to be told about fibers, as
// functions that do nothing in other builds.
//
// To ThreadSanitizer every CUDA thread is a thread of its own, and a switch
// orders nothing: only barriers do. The engine's own accesses are hidden from
// it (HiddenFromTsan), so that what it sees is the kernel.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_SANITIZERS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_SANITIZERS_H_

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define CUDA_HOST_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define CUDA_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CUDA_HOST_TSAN 1
#elif __has_feature(address_sanitizer)
#define CUDA_HOST_ASAN 1
#endif
#endif

#ifdef CUDA_HOST_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_read_range(void* address, unsigned long size);
void __tsan_write_range(void* address, unsigned long size);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif
#ifdef CUDA_HOST_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom,
                                    size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save,
                                     const void** bottom_old, size_t* size_old);
void __asan_poison_memory_region(const volatile void* address, size_t size);
void __asan_unpoison_memory_region(const volatile void* address, size_t size);
}
#endif

// For functions that read the engine's state and are called too often to hide.
#define CUDA_HOST_UNSEEN __attribute__((no_sanitize("thread"), noinline))

namespace cuda_host {

#ifdef CUDA_HOST_TSAN

inline constexpr bool kTsan = true;

inline void TsanIgnoreBegin() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
inline void TsanIgnoreEnd() {
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
}
inline void* TsanCurrentFiber() { return __tsan_get_current_fiber(); }
inline void* TsanCreateFiber() { return __tsan_create_fiber(0); }
inline void TsanDestroyFiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void TsanSwitch(void* fiber) {
  __tsan_switch_to_fiber(fiber, 1);  // 1: orders nothing
}
inline void TsanAcquire(void* address) { __tsan_acquire(address); }
inline void TsanRelease(void* address) { __tsan_release(address); }
inline void TsanRead(const void* address, size_t size) {
  __tsan_read_range(const_cast<void*>(address), size);
}
inline void TsanWrite(void* address, size_t size) {
  __tsan_write_range(address, size);
}

#else

inline constexpr bool kTsan = false;

inline void TsanIgnoreBegin() {}
inline void TsanIgnoreEnd() {}
inline void* TsanCurrentFiber() { return nullptr; }
inline void* TsanCreateFiber() { return nullptr; }
inline void TsanDestroyFiber(void*) {}
inline void TsanSwitch(void*) {}
inline void TsanAcquire(void*) {}
inline void TsanRelease(void*) {}
inline void TsanRead(const void*, size_t) {}
inline void TsanWrite(void*, size_t) {}

#endif

#ifdef CUDA_HOST_ASAN

inline void AsanStartSwitch(void** fake_stack, const void* bottom,
                            size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}
inline void AsanFinishSwitch(void* fake_stack, const void** bottom,
                             size_t* size) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
}
inline void AsanPoison(const void* address, size_t size) {
  __asan_poison_memory_region(address, size);
}
inline void AsanUnpoison(const void* address, size_t size) {
  __asan_unpoison_memory_region(address, size);
}

#else

inline void AsanStartSwitch(void**, const void*, size_t) {}
inline void AsanFinishSwitch(void*, const void**, size_t*) {}
inline void AsanPoison(const void*, size_t) {}
inline void AsanUnpoison(const void*, size_t) {}

#endif

class HiddenFromTsan {
 public:
  HiddenFromTsan() { TsanIgnoreBegin(); }
  ~HiddenFromTsan() { TsanIgnoreEnd(); }
  HiddenFromTsan(const HiddenFromTsan&) = delete;
  HiddenFromTsan& operator=(const HiddenFromTsan&) = delete;
};

// Within that: seen again.
class SeenByTsan {
 public:
  SeenByTsan() { TsanIgnoreEnd(); }
  ~SeenByTsan() { TsanIgnoreBegin(); }
  SeenByTsan(const SeenByTsan&) = delete;
  SeenByTsan& operator=(const SeenByTsan&) = delete;
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_SANITIZERS_H_

// The C++ forms that the genuine <cuda_runtime.h> adds to the C calls: typed
// allocation, and the launch of a kernel, whose arguments are copied at the
// call. Included by cuda_runtime_api.h only.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_TEMPLATES_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_TEMPLATES_H_

#include <driver_types.h>

#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cuda_host {

// One argument of a launch, inside the launch's own copy of them.
struct Argument {
  const void* bytes;
  size_t size;
  bool is_pointer;
};

struct Launch {
  const void* function;
  std::function<void()> thread_body;  // may run many times
  std::vector<Argument> arguments;    // live as long as thread_body
};

// Struct members are looked at for addresses, and what stands between them may
// be anything: compilers that can clear it do.
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
inline constexpr bool kClearsPadding = true;
template <typename T>
void ClearPadding(T& value) {
  __builtin_clear_padding(&value);
}
#define CUDA_HOST_CLEARS_PADDING
#endif
#endif
#ifndef CUDA_HOST_CLEARS_PADDING
inline constexpr bool kClearsPadding = false;
template <typename T>
void ClearPadding(T&) {}
#endif

// Checks the configuration and enqueues; runtime_api_launch.cc.
cudaError_t LaunchKernel(const cudaLaunchConfig_t& config, Launch launch);

}  // namespace cuda_host

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "a kernel's parameters travel as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096,
                "a kernel's parameters have 4096 bytes on every architecture");
  auto values = std::make_shared<std::tuple<Parameters...>>(
      std::forward<Arguments>(arguments)...);
  cuda_host::Launch launch;
  launch.function = reinterpret_cast<const void*>(kernel);
  launch.thread_body = [kernel, values] { std::apply(kernel, *values); };
  std::apply([](auto&... v) { (cuda_host::ClearPadding(v), ...); }, *values);
  std::apply(
      [&](const auto&... v) {
        (launch.arguments.push_back(
             {&v, sizeof(v), std::is_pointer_v<std::decay_t<decltype(v)>>}),
         ...);
      },
      *values);
  return cuda_host::LaunchKernel(*config, std::move(launch));
}

template <class T>
cudaError_t cudaFuncSetAttribute(T* func, enum cudaFuncAttribute attr,
                                 int value) {
  return ::cudaFuncSetAttribute(reinterpret_cast<const void*>(func), attr,
                                value);
}

template <class T>
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes* attr, T* func) {
  return ::cudaFuncGetAttributes(attr, reinterpret_cast<const void*>(func));
}

template <class T>
cudaError_t cudaMalloc(T** devPtr, size_t size) {
  return ::cudaMalloc(reinterpret_cast<void**>(devPtr), size);
}

template <class T>
cudaError_t cudaMallocAsync(T** ptr, size_t size, cudaStream_t stream) {
  return ::cudaMallocAsync(reinterpret_cast<void**>(ptr), size, stream);
}

template <class T>
cudaError_t cudaMallocHost(T** ptr, size_t size, unsigned int flags = 0) {
  return ::cudaHostAlloc(reinterpret_cast<void**>(ptr), size, flags);
}

template <class T>
cudaError_t cudaHostAlloc(T** ptr, size_t size, unsigned int flags) {
  return ::cudaHostAlloc(reinterpret_cast<void**>(ptr), size, flags);
}

inline cudaError_t cudaEventCreate(cudaEvent_t* event, unsigned int flags) {
  return ::cudaEventCreateWithFlags(event, flags);
}

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_TEMPLATES_H_

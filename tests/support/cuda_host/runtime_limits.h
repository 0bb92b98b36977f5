// Limits of a launch on compute capability 9.0: CUDA programming guide, chapter
// "Compute capabilities".
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_LIMITS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_LIMITS_H_

namespace cuda_host {

inline constexpr int kMaxBlockThreads = 1024;
inline constexpr int kMaxBlock[3] = {1024, 1024, 64};
inline constexpr int kMaxGrid[3] = {2147483647, 65535, 65535};
// Fewer than a GPU has: each block that a grid has for one is fibers here.
inline constexpr int kMultiprocessors = 4;
// Bytes of shared memory: of any kernel, and of one that asks for more.
inline constexpr int kSharedPerBlock = 48 * 1024;
inline constexpr int kSharedPerBlockOptin = 227 * 1024;

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_LIMITS_H_

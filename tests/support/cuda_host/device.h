// What kernels see in place of CUDA: its words, and the host form of every
// primitive of kernels/cuda/primitives.h, which is what includes this header.
// Owns:    nothing; all state is the thread's Engine (engine.h).
// Threads: called by the kernel that Engine::Run executes, on that thread.
// Errors:  a use that the PTX ISA leaves undefined ends the kernel: Engine::Run
//          throws cuda_host::Error, which names thread, lane and line.
//
// A copy writes NaN when it is issued and its data when it is waited for, so
// that both reading too early and filling too early show.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_H_

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cuda_host/place.h"

// ---- CUDA's words; __restrict__ both compilers know

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

namespace cuda_host {

uint3 ThreadIndex();
uint3 BlockIndex();
dim3 BlockDim();
dim3 GridDim();
unsigned char* DynamicSharedMemory();

// One of CUDA's variables, read where it or a member of it is used. (No macro:
// the runtime's structs have members of these names.)
template <auto kValue>
struct Variable {
  struct X {
    operator unsigned() const { return kValue().x; }
  } x;
  struct Y {
    operator unsigned() const { return kValue().y; }
  } y;
  struct Z {
    operator unsigned() const { return kValue().z; }
  } z;
  operator decltype(kValue())() const { return kValue(); }
};

void CopyAsyncWaitFor(int pending, Place at);

// .ftz: what is too small for a normal float is zero, going in and coming out.
inline float FlushToZero(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
// To nearest even; the bits in the lower half.
inline uint32_t RoundToBf16(float f) {
  if (std::isnan(f)) return 0x7fff;  // the only NaN that cvt makes
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

}  // namespace cuda_host

inline constexpr cuda_host::Variable<cuda_host::ThreadIndex> threadIdx = {};
inline constexpr cuda_host::Variable<cuda_host::BlockIndex> blockIdx = {};
inline constexpr cuda_host::Variable<cuda_host::BlockDim> blockDim = {};
inline constexpr cuda_host::Variable<cuda_host::GridDim> gridDim = {};

// ---- the project's

#define MLA_DEVICE inline
#define MLA_UNROLL
#define MLA_KEEP_LOOP
#define MLA_SHARED_MEMORY(p) \
  unsigned char* p = ::cuda_host::DynamicSharedMemory()

namespace mla::kernels::cuda {

using cuda_host::Place;

// ---- barriers, warps

void SyncBlock(Place at = Place::Here());
void SyncWarp(Place at = Place::Here());
float ShuffleXor(float v, int mask, Place at = Place::Here());
int ShuffleXor(int v, int mask, Place at = Place::Here());
int Shuffle(int v, int lane, Place at = Place::Here());
uint32_t Ballot(bool v, Place at = Place::Here());
int AtomicAdd(int* p, int v, Place at = Place::Here());
uint64_t AtomicAdd(uint64_t* p, uint64_t v, Place at = Place::Here());

// ---- asynchronous copies of 16 bytes into shared memory

void CopyAsync16(void* dst, const void* src, int bytes,
                 Place at = Place::Here());
void CopyAsyncCommit(Place at = Place::Here());
template <int kPending>
void CopyAsyncWait(Place at = Place::Here()) {
  static_assert(kPending >= 0, "cp.async.wait_group takes no negative count");
  cuda_host::CopyAsyncWaitFor(kPending, at);
}

// ---- tensor cores

void LoadMatrix(uint32_t (&r)[4], const void* row, Place at = Place::Here());
void LoadMatrixTransposed(uint32_t (&r)[4], const void* row,
                          Place at = Place::Here());
void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
             Place at = Place::Here());

// ---- arithmetic

inline float FloatOfBits(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t BitsOf(float f) { return std::bit_cast<uint32_t>(f); }
inline float Exp2(float x) {
  return cuda_host::FlushToZero(std::exp2(cuda_host::FlushToZero(x)));
}
inline float Log2(float x) { return std::log2(cuda_host::FlushToZero(x)); }
inline float RsqrtApprox(float x) { return 1.0f / std::sqrt(x); }
inline float Max(float a, float b) { return std::fmax(a, b); }
inline float NegativeInfinity() {
  return -std::numeric_limits<float>::infinity();
}
inline uint32_t PackBf16(float lo, float hi) {
  return cuda_host::RoundToBf16(hi) << 16 | cuda_host::RoundToBf16(lo);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_DEVICE_H_

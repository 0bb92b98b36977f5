// What kernels may ask of a GPU, each thing once: here as PTX, and for builds
// without nvcc as "cuda_host/device.h", which executes it on the host, a fiber
// per CUDA thread (tests/support/cuda_host). Nothing else in kernels/cuda but
// hopper_primitives.h has asm, and nothing there is compiled by one of the two
// only.
//
// Shapes and fragment layouts: PTX ISA 8.x, sections 9.7.14.5 (mma.m16n8k16)
// and 9.7.14.5.15 (ldmatrix); a lane is threadIdx.x % 32, g = lane / 4,
// t = lane % 4. All "warp" primitives need all 32 lanes.
#ifndef MLA_KERNELS_CUDA_PRIMITIVES_H_
#define MLA_KERNELS_CUDA_PRIMITIVES_H_

#include <cuda_runtime.h>

#include <cstdint>

#if !defined(__CUDACC__)

#include "cuda_host/device.h"  // IWYU pragma: export

#else

#define MLA_DEVICE __device__ __forceinline__
#define MLA_UNROLL _Pragma("unroll")
#define MLA_KEEP_LOOP _Pragma("unroll 1")
// `p`: the block's dynamic shared memory, aligned to 1024 bytes.
#define MLA_SHARED_MEMORY(p)                                           \
  extern __shared__ __align__(1024) unsigned char mla_shared_memory[]; \
  unsigned char* p = mla_shared_memory

namespace mla::kernels::cuda {

MLA_DEVICE uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- barriers, warps

MLA_DEVICE void SyncBlock() { __syncthreads(); }
MLA_DEVICE void SyncWarp() { __syncwarp(); }
MLA_DEVICE float ShuffleXor(float v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
MLA_DEVICE int ShuffleXor(int v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
MLA_DEVICE int Shuffle(int v, int lane) {
  return __shfl_sync(0xffffffffu, v, lane);
}
MLA_DEVICE uint32_t Ballot(bool v) { return __ballot_sync(0xffffffffu, v); }

// The value before. In global or shared memory.
MLA_DEVICE int AtomicAdd(int* p, int v) { return atomicAdd(p, v); }
MLA_DEVICE uint64_t AtomicAdd(uint64_t* p, uint64_t v) {
  return atomicAdd(reinterpret_cast<unsigned long long*>(p), v);
}

// ---- asynchronous copies of 16 bytes into shared memory

// `bytes` 0 fills zeros and reads nothing, but `src` must be a valid address.
// Both addresses are multiples of 16. What is stored may be read by this thread
// after the wait, by others after a barrier besides.
MLA_DEVICE void CopyAsync16(void* dst, const void* src, int bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(
                   SharedAddress(dst)),
               "l"(src), "r"(bytes)
               : "memory");
}
MLA_DEVICE void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most `kPending` of this thread's groups are under way.
template <int kPending>
MLA_DEVICE void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// ---- tensor cores

// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8
// of matrix l / 8; r[m] becomes elements (g, 2t) and (g, 2t + 1) of matrix m,
// or of its transpose.
MLA_DEVICE void LoadMatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}
MLA_DEVICE void LoadMatrixTransposed(uint32_t (&r)[4], const void* row) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(SharedAddress(row))
      : "memory");
}
// d += a b: a [16, 16], b [16, 8] bf16, d [16, 8] f32. Lane's part:
//   a[0..3]: rows g, g+8, g, g+8; columns 2t, 2t+1 (+8 for a[2], a[3])
//   b0, b1:  rows 2t, 2t+1 (+8 for b1); column g
//   d[0..3]: row g (d[2], d[3]: g+8), columns 2t, 2t+1
MLA_DEVICE void MmaBf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                        uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
      "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- arithmetic

MLA_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
MLA_DEVICE float Log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
MLA_DEVICE float RsqrtApprox(float x) { return rsqrtf(x); }
MLA_DEVICE float Max(float a, float b) { return fmaxf(a, b); }
MLA_DEVICE float NegativeInfinity() { return __int_as_float(0xff800000); }
MLA_DEVICE float FloatOfBits(uint32_t bits) { return __uint_as_float(bits); }
MLA_DEVICE uint32_t BitsOf(float f) { return __float_as_uint(f); }
// Round to nearest even; `lo` in the lower half.
MLA_DEVICE uint32_t PackBf16(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

}  // namespace mla::kernels::cuda

#endif  // __CUDACC__

namespace mla::kernels::cuda {

MLA_DEVICE float Bf16ToFloat(uint16_t h) {
  return FloatOfBits(static_cast<uint32_t>(h) << 16);
}
MLA_DEVICE uint16_t FloatToBf16(float f) {
  return static_cast<uint16_t>(PackBf16(f, 0.0f));
}
MLA_DEVICE int BitsSet(uint32_t x) {
  x -= x >> 1 & 0x55555555u;
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0fu;
  return static_cast<int>(x * 0x01010101u >> 24);
}

MLA_DEVICE float WarpMax(float v) {
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) v = Max(v, ShuffleXor(v, i));
  return v;
}
// The same bits in every lane, whatever runs beside.
MLA_DEVICE float WarpSum(float v) {
  MLA_UNROLL
  for (int i = 16; i > 0; i /= 2) v += ShuffleXor(v, i);
  return v;
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_PRIMITIVES_H_

// What kernels may ask of Hopper beside primitives.h, each thing once: here as
// PTX for sm_90a, and for builds without nvcc as "cuda_host/hopper.h".
//
// Bulk copies and products are done by the "async proxy", beside the threads:
// an mbarrier tells them that a copy has arrived, a wait that products are
// done. What threads themselves store in shared memory for products to read,
// they store by StoreShared and fence by FenceAsyncProxy.
//
// Operands in shared memory lie in boxes of 64 columns: a row is 128 bytes, 8
// chunks of 16, and chunk c of row r stands at place c ^ (r % 8), so that eight
// rows make a swizzle of 1024 bytes. A box begins at a multiple of that.
//
// PTX ISA 8.x: sections 9.7.13.15 (mbarrier), 9.7.9.27 (cp.async.bulk.tensor),
// 9.7.15 (wgmma; matrix descriptors: 9.7.15.5.1.2).
#ifndef MLA_KERNELS_CUDA_HOPPER_PRIMITIVES_H_
#define MLA_KERNELS_CUDA_HOPPER_PRIMITIVES_H_

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/primitives.h"

#if !defined(__CUDACC__)

#include "cuda_host/hopper.h"  // IWYU pragma: export

#else

// Whether this pass of the compiler makes code that may use what is below.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define MLA_HAS_HOPPER 1
#else
#define MLA_HAS_HOPPER 0
#endif

namespace mla::kernels::cuda {

// ---- barriers

// Meets `threads` threads, whole warps, at barrier `id`, 1 to 15.
MLA_DEVICE void SyncSome(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// In shared memory. A phase ends when all arrivals and bytes of it have come;
// phases have parity 0, 1, 0, ...
using MBarrier = uint64_t;

MLA_DEVICE void InitBarrier(MBarrier* b, int arrivals) {
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(b)),
      "r"(arrivals)
      : "memory");
}
// By the thread that has initialised; a SyncBlock follows.
MLA_DEVICE void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
MLA_DEVICE void Arrive(MBarrier* b) {
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(b))
      : "memory");
}
// Arrives, and has the phase wait for so many bytes of copies.
MLA_DEVICE void ArriveAndExpect(MBarrier* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   SharedAddress(b)),
               "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended; before any has, of parity 1.
MLA_DEVICE void WaitFor(MBarrier* b, int parity) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(SharedAddress(b)), "r"(parity)
        : "memory");
  }
}

// ---- bulk copies

// A box of a tensor [z, y, x] to a box in shared memory; its bytes count for
// the barrier. What lies outside of the tensor becomes zeros.
MLA_DEVICE void CopyBox(void* dst, const CUtensorMap* map, MBarrier* b, int x,
                        int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::"
      "bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(SharedAddress(dst)),
      "l"(map), "r"(SharedAddress(b)), "r"(x), "r"(y), "r"(z)
      : "memory");
}

// ---- stores that products read

MLA_DEVICE void StoreShared(void* p, uint32_t v) {
  *static_cast<uint32_t*>(p) = v;
}
MLA_DEVICE void StoreShared(void* p, uint4 v) { *static_cast<uint4*>(p) = v; }
// By the threads that stored; a barrier follows.
MLA_DEVICE void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- registers: of each thread of a warpgroup, all of whose warps do this; a
// block's must be given back by some before others get them

template <int kRegisters>
MLA_DEVICE void GiveRegistersBack() {
#if MLA_HAS_HOPPER
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
MLA_DEVICE void TakeRegisters() {
#if MLA_HAS_HOPPER
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// ---- products of a warpgroup: four warps, the first one's number a multiple
// of 4, that all do the same

// Before the first product after registers of its sums were written.
MLA_DEVICE void FenceProducts() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
MLA_DEVICE void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// All that were committed: `d`, which must not be touched from the first
// product on, can be read, and operands overwritten.
template <int kSums>
MLA_DEVICE void WaitForProducts(float (&d)[kSums]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  MLA_UNROLL
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define MLA_SUMS_8(d, i)                                              \
  "+f"((d)[i]), "+f"((d)[i + 1]), "+f"((d)[i + 2]), "+f"((d)[i + 3]), \
      "+f"((d)[i + 4]), "+f"((d)[i + 5]), "+f"((d)[i + 6]), "+f"((d)[i + 7])
#define MLA_SUMS_32(d, i)                                        \
  MLA_SUMS_8(d, i), MLA_SUMS_8(d, i + 8), MLA_SUMS_8(d, i + 16), \
      MLA_SUMS_8(d, i + 24)

// d += A B^T: A [64, 16] and B [kColumns, 16] bf16, of rows in boxes;
// MultiplyTransposed: d += A B, of B [16, kColumns]. The thread's part of d
// [64, kColumns], f32, with w its warp's number in the group:
//   d[i]: row 16 w + lane / 4 + i / 2 % 2 * 8, column i / 4 * 8 + lane % 4 * 2
//   + i % 2
MLA_DEVICE void Multiply(float (&d)[16], uint64_t a, uint64_t b) {
#if MLA_HAS_HOPPER
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, "
      "%16, %17, 1, 1, 1, 0, 0;"
      : MLA_SUMS_8(d, 0), MLA_SUMS_8(d, 8)
      : "l"(a), "l"(b));
#endif
}
MLA_DEVICE void MultiplyTransposed(float (&d)[128], uint64_t a, uint64_t b) {
#if MLA_HAS_HOPPER
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,"
      "%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,"
      "%124,%125,%126,%127}, "
      "%128, %129, 1, 1, 1, 0, 1;"
      : MLA_SUMS_32(d, 0), MLA_SUMS_32(d, 32), MLA_SUMS_32(d, 64),
        MLA_SUMS_32(d, 96)
      : "l"(a), "l"(b));
#endif
}
#undef MLA_SUMS_8
#undef MLA_SUMS_32

}  // namespace mla::kernels::cuda

#endif  // __CUDACC__

namespace mla::kernels::cuda {

constexpr int kBoxColumns = 64;
constexpr int kBoxRowBytes = kBoxColumns * 2;
constexpr int kSwizzleBytes = 8 * kBoxRowBytes;

// Byte offset of a chunk in a box.
MLA_DEVICE int BoxOffset(int row, int chunk) {
  return row * kBoxRowBytes + (chunk ^ (row & 7)) * 16;
}

// A matrix operand that begins at `p`: rows one behind the other in one box,
// of which a product takes 16 columns, 32 bytes; or, for MultiplyTransposed, 16
// rows of boxes that are `box_bytes` apart.
MLA_DEVICE uint64_t OperandAt(const void* p, int box_bytes = 16) {
  constexpr uint64_t kSwizzle128 = 1;
  return static_cast<uint64_t>((SharedAddress(p) & 0x3ffff) >> 4) |
         static_cast<uint64_t>(box_bytes >> 4) << 16 |
         static_cast<uint64_t>(kSwizzleBytes >> 4) << 32 | kSwizzle128 << 62;
}
// The same, of what lies so many bytes (whole 16s) behind.
MLA_DEVICE uint64_t OperandBehind(uint64_t operand, int bytes) {
  return operand + static_cast<uint64_t>(bytes >> 4);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_HOPPER_PRIMITIVES_H_

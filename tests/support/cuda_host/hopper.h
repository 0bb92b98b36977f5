// The host form of every primitive of kernels/cuda/hopper_primitives.h, which
// is what includes this header.
// Threads, errors: as device.h.
//
// What hardware does beside the threads happens as late as it may, and until
// then shows: boxes that a copy fills, and sums of products, are NaN until they
// are waited for; operands must not change before that. Products see of what
// threads store only what was stored by StoreShared and fenced afterwards.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_HOPPER_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_HOPPER_H_

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_host/place.h"

#define MLA_HAS_HOPPER 1

namespace cuda_host {

// kColumns sums of each of the warpgroup's 64 rows, this thread's part at `d`.
void Multiply(float* d, int columns, bool transposed, uint64_t a, uint64_t b,
              Place at);

}  // namespace cuda_host

namespace mla::kernels::cuda {

using cuda_host::Place;
using MBarrier = uint64_t;

uint32_t SharedAddress(const void* p, Place at = Place::Here());

void SyncSome(int id, int threads, Place at = Place::Here());

void InitBarrier(MBarrier* b, int arrivals, Place at = Place::Here());
void FenceBarrierInit(Place at = Place::Here());
void Arrive(MBarrier* b, Place at = Place::Here());
void ArriveAndExpect(MBarrier* b, int bytes, Place at = Place::Here());
void WaitFor(MBarrier* b, int parity, Place at = Place::Here());

void CopyBox(void* dst, const CUtensorMap* map, MBarrier* b, int x, int y,
             int z, Place at = Place::Here());

void StoreShared(void* p, uint32_t v, Place at = Place::Here());
void StoreShared(void* p, uint4 v, Place at = Place::Here());
void FenceAsyncProxy(Place at = Place::Here());

// Of registers the host has enough.
template <int kRegisters>
void GiveRegistersBack() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}
template <int kRegisters>
void TakeRegisters() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}

void FenceProducts(Place at = Place::Here());
void CommitProducts(Place at = Place::Here());
void WaitForAllProducts(Place at);
template <int kSums>
void WaitForProducts(float (&)[kSums], Place at = Place::Here()) {
  WaitForAllProducts(at);
}
template <int kSums>
void Multiply(float (&d)[kSums], uint64_t a, uint64_t b,
              Place at = Place::Here()) {
  cuda_host::Multiply(d, kSums * 2, /*transposed=*/false, a, b, at);
}
template <int kSums>
void MultiplyTransposed(float (&d)[kSums], uint64_t a, uint64_t b,
                        Place at = Place::Here()) {
  cuda_host::Multiply(d, kSums * 2, /*transposed=*/true, a, b, at);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_HOPPER_H_

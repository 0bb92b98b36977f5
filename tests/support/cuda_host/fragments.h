// What the tensor core primitives compute of 32 lanes' registers, by the PTX
// ISA: ldmatrix (section 9.7.14.5.15) and mma.m16n8k16 (9.7.14.5.8).
// Threads: any; plain functions.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_FRAGMENTS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_FRAGMENTS_H_

#include <cstddef>
#include <cstdint>

#include "cuda_host/engine.h"

namespace cuda_host {

// A lane of ldmatrix.x4: it brings a row of 8 elements, and leaves with two
// elements of each of the four matrices.
struct MatrixLane {
  uint16_t row[8];
  size_t offset;    // of the row in shared memory
  uint32_t out[4];  // the first element in the lower half
};
void SpreadMatrices(Lanes<MatrixLane> lanes, bool transposed);
// Shared memory has 32 banks of 4 bytes, and gives a matrix in one wavefront if
// its rows lie in different ones. The wavefronts beyond four.
int ExtraWavefronts(Lanes<MatrixLane> lanes);

// A lane of mma.m16n8k16: d += a b. Registers as in primitives.h.
struct MmaLane {
  float* d;           // [4]
  const uint32_t* a;  // [4]
  uint32_t b[2];
};
void MultiplyAdd(Lanes<MmaLane> lanes);

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_FRAGMENTS_H_

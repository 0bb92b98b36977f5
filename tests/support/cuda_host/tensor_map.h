// TensorMap: what a CUtensorMap of the stand-in says. (The genuine one's bits
// are the driver's own.) Bf16, three dimensions, boxes in 128-byte swizzle: all
// that kernels here use.
// Threads: any. Errors: CUDA_ERROR_INVALID_VALUE where the driver API's rules
// are broken ("Tensor Map Object Management" in the driver API's manual).
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_TENSOR_MAP_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_TENSOR_MAP_H_

#include <cuda.h>

#include <cstdint>

namespace cuda_host {

struct TensorMap {
  static constexpr uint64_t kMagic = 0x70616d20726f736e;

  const unsigned char* base;
  uint64_t size[3];    // elements; the first dimension's are neighbours
  uint64_t stride[2];  // bytes from one to the next of dimensions 1 and 2
  uint64_t box[3];     // elements
  uint64_t magic;

  int box_bytes() const {
    return static_cast<int>(box[0] * box[1] * box[2] * 2);
  }
};

// False if `map` was not made by cuTensorMapEncodeTiled.
bool Decode(const CUtensorMap& map, TensorMap* decoded);

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_TENSOR_MAP_H_

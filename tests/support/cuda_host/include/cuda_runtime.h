// Stand-in for the CUDA toolkit's <cuda_runtime.h>: dim3 and the vector types,
// with the sizes and alignments that kernels rely on, and the runtime's calls
// where cuda_runtime_api.h beside this file has them.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_H_

struct uint3 {
  unsigned int x, y, z;
};

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
  constexpr dim3(unsigned int vx = 1, unsigned int vy = 1,  // NOLINT
                 unsigned int vz = 1)
      : x(vx), y(vy), z(vz) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}  // NOLINT
  constexpr operator uint3() const { return {x, y, z}; }
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned int x, y;
};
struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};

constexpr uint3 make_uint3(unsigned int x, unsigned int y, unsigned int z) {
  return {x, y, z};
}
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
constexpr uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z,
                           unsigned int w) {
  return {x, y, z, w};
}

#if __has_include("cuda_runtime_api.h")
#include "cuda_runtime_api.h"  // IWYU pragma: export
#endif

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_INCLUDE_CUDA_RUNTIME_H_

// Tested by tests/cuda/hopper_primitives_test.cc.
#include "cuda_host/tensor_map.h"

#include <cstring>

namespace cuda_host {
namespace {

constexpr int kRank = 3;

bool IsLegal(const TensorMap& map, const cuuint32_t* element_strides) {
  if (map.base == nullptr || reinterpret_cast<uintptr_t>(map.base) % 16 != 0) {
    return false;
  }
  for (int i = 0; i < kRank; ++i) {
    if (map.size[i] == 0 || map.size[i] > uint64_t{1} << 32) return false;
    if (map.box[i] == 0 || map.box[i] > 256) return false;
    if (element_strides[i] != 1) return false;
  }
  for (const uint64_t stride : map.stride) {
    if (stride % 16 != 0 || stride >= uint64_t{1} << 40) return false;
  }
  if (map.stride[0] < map.size[0] * 2 || map.stride[1] % map.stride[0] != 0) {
    return false;
  }
  return map.box[0] * 2 % 16 == 0 && map.box[0] * 2 <= 128;
}

}  // namespace

bool Decode(const CUtensorMap& map, TensorMap* decoded) {
  std::memcpy(decoded, map.opaque, sizeof(*decoded));
  return decoded->magic == TensorMap::kMagic;
}

}  // namespace cuda_host

extern "C" CUresult cuTensorMapEncodeTiled(
    CUtensorMap* tensorMap, CUtensorMapDataType tensorDataType,
    cuuint32_t tensorRank, void* globalAddress, const cuuint64_t* globalDim,
    const cuuint64_t* globalStrides, const cuuint32_t* boxDim,
    const cuuint32_t* elementStrides, CUtensorMapInterleave interleave,
    CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
    CUtensorMapFloatOOBfill oobFill) {
  using cuda_host::TensorMap;
  static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));
  if (tensorMap == nullptr ||
      reinterpret_cast<uintptr_t>(tensorMap) % 64 != 0 ||
      tensorDataType != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ||
      tensorRank != cuda_host::kRank ||
      interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      swizzle != CU_TENSOR_MAP_SWIZZLE_128B ||
      oobFill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  TensorMap map = {};
  map.base = static_cast<const unsigned char*>(globalAddress);
  for (int i = 0; i < cuda_host::kRank; ++i) {
    map.size[i] = globalDim[i];
    map.box[i] = boxDim[i];
    if (i + 1 < cuda_host::kRank) map.stride[i] = globalStrides[i];
  }
  map.magic = TensorMap::kMagic;
  if (!cuda_host::IsLegal(map, elementStrides)) return CUDA_ERROR_INVALID_VALUE;
  std::memset(tensorMap, 0, sizeof(*tensorMap));
  std::memcpy(tensorMap->opaque, &map, sizeof(map));
  return CUDA_SUCCESS;
}

// Elements of a cached row, whatever its format (kernels/row_format.h).
#ifndef MLA_KERNELS_CUDA_ROW_ELEMENTS_CUH_
#define MLA_KERNELS_CUDA_ROW_ELEMENTS_CUH_

#include "kernels/cuda/primitives.h"
#include "kernels/row_format.h"

namespace mla::kernels::cuda {

// As FromF8E4M3, in fewer steps: the code's exponent and mantissa stand where
// a float's do, 120 exponents too low; subnormals are then subnormal, too.
MLA_DEVICE float E4m3ToFloat(uint32_t code) {
  const uint32_t magnitude = (code & 0x7fu) << 20;
  const float x =
      FloatOfBits((code & 0x80u) << 24 | magnitude) * FloatOfBits(247u << 23);
  return magnitude == (0x7fu << 20) ? FloatOfBits(0x7fc00000u) : x;
}

MLA_DEVICE float ScaleOf(const RowFormat& f, const unsigned char* row,
                         int element) {
  return reinterpret_cast<const float*>(
      row + f.scales_at)[element / kRowScaleElements];
}

// Where an element lies that is bf16. REQUIRES: it is.
MLA_DEVICE const unsigned char* Bf16Element(const RowFormat& f,
                                            const unsigned char* row,
                                            int64_t element) {
  return row + f.rest_at + (element - f.quantised) * 2;
}

MLA_DEVICE float LoadElement(const RowFormat& f, const unsigned char* row,
                             int i) {
  if (i < f.quantised) return E4m3ToFloat(row[i]) * ScaleOf(f, row, i);
  return f.dtype == DType::kF32
             ? reinterpret_cast<const float*>(row)[i]
             : Bf16ToFloat(
                   *reinterpret_cast<const uint16_t*>(Bf16Element(f, row, i)));
}

// Eight elements as bf16. REQUIRES: fp8; they are codes or bf16, all of them,
// and `element` is a multiple of 8.
MLA_DEVICE uint4 LoadChunk(const RowFormat& f, const unsigned char* row,
                           int element) {
  if (element >= f.quantised) {
    return *reinterpret_cast<const uint4*>(Bf16Element(f, row, element));
  }
  const uint2 codes = *reinterpret_cast<const uint2*>(row + element);
  const float scale = ScaleOf(f, row, element);
  uint32_t pairs[4];
  MLA_UNROLL
  for (int i = 0; i < 4; ++i) {
    const uint32_t two = (i < 2 ? codes.x : codes.y) >> i % 2 * 16;
    pairs[i] =
        PackBf16(E4m3ToFloat(two) * scale, E4m3ToFloat(two >> 8) * scale);
  }
  return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ROW_ELEMENTS_CUH_

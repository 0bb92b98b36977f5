// Element types of weights and cache rows, their storage sizes and scalar
// conversions.
//
// Block formats (Q4_0 ... Q6_K) are GGUF's: `block_elements` consecutive
// elements share one block of `block_bytes` bytes (layouts: ggml's
// `ggml-common.h`, decoded in kernels/dequantize.cc). Two of them are types of
// weights in memory, too, in the CPU's own order (kernels/packed_matrix.h).
// Cache rows are F32, BF16 or F8E4M3 (kernels/row_format.h); integers only
// travel in files. C++17-clean: .cu files include it.
#ifndef MLA_KERNELS_DTYPE_H_
#define MLA_KERNELS_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

// Of what runs on a device as well.
#ifdef __CUDACC__
#define MLA_HOST_DEVICE __host__ __device__
#else
#define MLA_HOST_DEVICE
#endif

namespace mla::kernels {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kI32,
  kI64,
};

struct DTypeTraits {
  const char* name;
  int block_elements;
  int block_bytes;
};

constexpr DTypeTraits Traits(DType t) {
  switch (t) {
    case DType::kF32:
      return {"f32", 1, 4};
    case DType::kF16:
      return {"f16", 1, 2};
    case DType::kBF16:
      return {"bf16", 1, 2};
    case DType::kF8E4M3:
      return {"fp8_e4m3", 1, 1};
    case DType::kQ4_0:
      return {"q4_0", 32, 18};
    case DType::kQ4_1:
      return {"q4_1", 32, 20};
    case DType::kQ5_0:
      return {"q5_0", 32, 22};
    case DType::kQ5_1:
      return {"q5_1", 32, 24};
    case DType::kQ8_0:
      return {"q8_0", 32, 34};
    case DType::kQ4_K:
      return {"q4_k", 256, 144};
    case DType::kQ5_K:
      return {"q5_k", 256, 176};
    case DType::kQ6_K:
      return {"q6_k", 256, 210};
    case DType::kI32:
      return {"i32", 1, 4};
    case DType::kI64:
      return {"i64", 1, 8};
  }
  return {"?", 1, 0};
}

constexpr const char* Name(DType t) { return Traits(t).name; }
// Bytes of one element; only for types without blocks.
constexpr size_t SizeOf(DType t) {
  return static_cast<size_t>(Traits(t).block_bytes);
}

using bf16_t = uint16_t;  // the upper half of an IEEE binary32

MLA_HOST_DEVICE inline float FloatFromBits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

MLA_HOST_DEVICE inline uint32_t BitsOfFloat(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

inline float FromBF16(bf16_t h) {
  return FloatFromBits(static_cast<uint32_t>(h) << 16);
}

// Round to nearest, ties to even; NaN stays NaN.
inline bf16_t ToBF16(float f) {
  uint32_t bits = BitsOfFloat(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<bf16_t>((bits >> 16) | 0x40u);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<bf16_t>(bits >> 16);
}

// FromF16 and FromF8E4M3 widen exactly. Both shift exponent and mantissa to
// binary32's place and re-bias the exponent; a subnormal gets the smallest
// normal's exponent instead, whose value is then subtracted again. Selections
// instead of branches, so that loops over them vectorise.

// IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits.
inline float FromF16(uint16_t h) {
  const uint32_t magnitude = (h & 0x7fffu) << 13;
  const uint32_t infinity = 0x1fu
                            << 23;  // shifted like magnitude; NaN lies above
  const uint32_t normal =
      magnitude + ((magnitude >= infinity ? 2u : 1u) * (112u << 23));
  const uint32_t subnormal = BitsOfFloat(
      FloatFromBits(magnitude + (113u << 23)) - FloatFromBits(113u << 23));
  const uint32_t sign = (h & 0x8000u) << 16;
  return FloatFromBits(sign | (magnitude < (1u << 23) ? subnormal : normal));
}

// To nearest, ties to even. What is too large becomes an infinity.
inline uint16_t ToF16(float f) {
  const uint32_t bits = BitsOfFloat(f);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = bits >> 16 & 0x8000u;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < (113u << 23)) {
    // Below 2^-14 halves are 2^-24 apart, as floats are above 1/2.
    const float half = FloatFromBits(126u << 23);
    const uint32_t code =
        BitsOfFloat(FloatFromBits(magnitude) + half) - (126u << 23);
    return static_cast<uint16_t>(sign | code);
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

// OCP FP8 E4M3 (the "FN" kind): bias 7, no infinities, NaN is 0x7f and 0xff.
MLA_HOST_DEVICE inline float FromF8E4M3(uint8_t b) {
  const uint32_t magnitude = (b & 0x7fu) << 20;
  const uint32_t normal =
      magnitude == (0x7fu << 20) ? 0x7fc00000u : magnitude + (120u << 23);
  const uint32_t subnormal = BitsOfFloat(
      FloatFromBits(magnitude + (121u << 23)) - FloatFromBits(121u << 23));
  const uint32_t sign = (b & 0x80u) << 24;
  return FloatFromBits(sign | (magnitude < (1u << 23) ? subnormal : normal));
}

// To nearest, ties to even. What is too large becomes the largest, 448; an
// infinity, which no code stands for, becomes NaN as NaN does.
MLA_HOST_DEVICE inline uint8_t ToF8E4M3(float f) {
  const uint32_t bits = BitsOfFloat(f);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = bits >> 24 & 0x80u;
  if (magnitude >= 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);
  if (magnitude >= 0x43e00000u) return static_cast<uint8_t>(sign | 0x7eu);
  uint32_t code;
  if (magnitude < (121u << 23)) {
    // Below 2^-6 codes are 2^-9 apart, as floats are above 2^14.
    const uint32_t base = 141u << 23;
    code = BitsOfFloat(FloatFromBits(magnitude) + FloatFromBits(base)) - base;
  } else {
    code =
        ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - (120u << 3);
  }
  return static_cast<uint8_t>(sign | code);
}

}  // namespace mla::kernels

#endif  // MLA_KERNELS_DTYPE_H_

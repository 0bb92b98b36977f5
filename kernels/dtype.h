// Element types of weights and cache rows, their storage sizes and scalar
// conversions.
//
// Block formats (Q4_0 ... Q6_K) are GGUF's: `BlockElements` consecutive
// elements share one block of `BlockBytes` bytes (layouts: ggml's
// `ggml-common.h`, decoded in kernels/dequantize.h). Cache rows are F32 or
// BF16. C++17-clean: .cu files include it.
#ifndef MLA_KERNELS_DTYPE_H_
#define MLA_KERNELS_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

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
      return {"f8_e4m3", 1, 1};
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
  }
  return {"?", 1, 0};
}

constexpr const char* Name(DType t) { return Traits(t).name; }
// Bytes of one element; only for types without blocks.
constexpr size_t SizeOf(DType t) {
  return static_cast<size_t>(Traits(t).block_bytes);
}

using bf16_t = uint16_t;  // the upper half of an IEEE binary32

inline float FromBF16(bf16_t h) {
  uint32_t bits = static_cast<uint32_t>(h) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// Round to nearest, ties to even; NaN stays NaN.
inline bf16_t ToBF16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<bf16_t>((bits >> 16) | 0x40u);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<bf16_t>(bits >> 16);
}

}  // namespace mla::kernels

#endif  // MLA_KERNELS_DTYPE_H_

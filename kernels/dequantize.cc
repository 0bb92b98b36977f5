// The block formats, after ggml-common.h. d and m are binary16, q an unsigned
// field of a block, s and t 6-bit factors shared by 32 elements (K-quants):
//
//   Q4_0  d * (q - 8)          Q4_1  d * q + m
//   Q5_0  d * (q - 16)         Q5_1  d * q + m
//   Q8_0  d * q (int8)         Q6_K  (d * s) * (q - 32), s an int8 per 16
//   Q4_K, Q5_K  (d * s) * q - (m * t)
//
// Every product is exact in binary32 (d has 11 bits, s and q 13 together),
// so the one sum rounds once however the compiler fuses or orders it.
//
// A nibble pair in one byte is two elements half a group apart, so the loops
// walk bytes and write two streams: the compiler vectorises that.
//
// Tested by tests/kernels/dequantize_test.cc.
#include "kernels/dequantize.h"

namespace mla::kernels {
namespace {

template <typename T>
T Load(const uint8_t* src) {
  T value;
  std::memcpy(&value, src, sizeof(T));
  return value;
}

float LoadF16(const uint8_t* src) { return FromF16(Load<uint16_t>(src)); }

// The fifth bits of a Q5_0 or Q5_1 block: bit i belongs to element i. Returned
// in the place that they take above a nibble, 0 or 16.
int FifthBit(uint32_t bits, int i) { return ((bits >> i) << 4) & 16; }

void DecodeQ4_0(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block);
  const uint8_t* q = block + 2;
  for (int i = 0; i < 16; ++i) {
    dst[i] = d * static_cast<float>((q[i] & 15) - 8);
    dst[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
}

void DecodeQ4_1(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block);
  const float m = LoadF16(block + 2);
  const uint8_t* q = block + 4;
  for (int i = 0; i < 16; ++i) {
    dst[i] = d * static_cast<float>(q[i] & 15) + m;
    dst[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
  }
}

void DecodeQ5_0(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block);
  const uint32_t high = Load<uint32_t>(block + 2);
  const uint8_t* q = block + 6;
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 15) | FifthBit(high, i);
    const int upper = (q[i] >> 4) | FifthBit(high, i + 16);
    dst[i] = d * static_cast<float>(low - 16);
    dst[i + 16] = d * static_cast<float>(upper - 16);
  }
}

void DecodeQ5_1(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block);
  const float m = LoadF16(block + 2);
  const uint32_t high = Load<uint32_t>(block + 4);
  const uint8_t* q = block + 8;
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 15) | FifthBit(high, i);
    const int upper = (q[i] >> 4) | FifthBit(high, i + 16);
    dst[i] = d * static_cast<float>(low) + m;
    dst[i + 16] = d * static_cast<float>(upper) + m;
  }
}

void DecodeQ8_0(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block);
  const uint8_t* q = block + 2;
  for (int i = 0; i < 32; ++i) {
    dst[i] = d * static_cast<float>(static_cast<int8_t>(q[i]));
  }
}

// Scale and offset of one 32-element group of a Q4_K or Q5_K block, from the
// 12 bytes that pack eight 6-bit pairs: groups 0-3 lie in the low bits of bytes
// 0-3 (scale) and 4-7 (offset), groups 4-7 in the nibbles of bytes 8-11 with
// their upper two bits on top of bytes 0-7.
struct GroupScale {
  float scale;
  float offset;
};

GroupScale LoadGroupScale(const uint8_t* block, int group) {
  const uint8_t* packed = block + 4;
  int scale, offset;
  if (group < 4) {
    scale = packed[group] & 63;
    offset = packed[group + 4] & 63;
  } else {
    scale = (packed[group + 4] & 15) | ((packed[group - 4] >> 2) & 48);
    offset = (packed[group + 4] >> 4) | ((packed[group] >> 2) & 48);
  }
  return {LoadF16(block) * static_cast<float>(scale),
          LoadF16(block + 2) * static_cast<float>(offset)};
}

void DecodeQ4_K(const uint8_t* block, float* __restrict dst) {
  const uint8_t* q = block + 16;
  for (int group = 0; group < 8; group += 2, q += 32, dst += 64) {
    const GroupScale a = LoadGroupScale(block, group);
    const GroupScale b = LoadGroupScale(block, group + 1);
    for (int i = 0; i < 32; ++i) {
      dst[i] = a.scale * static_cast<float>(q[i] & 15) - a.offset;
      dst[i + 32] = b.scale * static_cast<float>(q[i] >> 4) - b.offset;
    }
  }
}

// Bit g of fifth[i] is the fifth bit of element i of group g.
void DecodeQ5_K(const uint8_t* block, float* __restrict dst) {
  const uint8_t* fifth = block + 16;
  const uint8_t* q = block + 48;
  for (int group = 0; group < 8; group += 2, q += 32, dst += 64) {
    const GroupScale a = LoadGroupScale(block, group);
    const GroupScale b = LoadGroupScale(block, group + 1);
    for (int i = 0; i < 32; ++i) {
      const int low = (q[i] & 15) | (((fifth[i] >> group) & 1) << 4);
      const int upper = (q[i] >> 4) | (((fifth[i] >> (group + 1)) & 1) << 4);
      dst[i] = a.scale * static_cast<float>(low) - a.offset;
      dst[i + 32] = b.scale * static_cast<float>(upper) - b.offset;
    }
  }
}

// Each half of a Q6_K block is 128 elements: 64 bytes of nibbles and 32 bytes
// that hold the upper two bits of four elements, 32 apart, each.
void DecodeQ6_K(const uint8_t* block, float* __restrict dst) {
  const float d = LoadF16(block + 208);
  for (int half = 0; half < 2; ++half, dst += 128) {
    const uint8_t* nibbles = block + half * 64;
    const uint8_t* upper = block + 128 + half * 32;
    const uint8_t* scales = block + 192 + half * 8;
    for (int quarter = 0; quarter < 4; ++quarter) {
      const uint8_t* q = nibbles + (quarter % 2) * 32;
      const int shift = quarter < 2 ? 0 : 4;
      for (int part = 0; part < 2; ++part) {
        const int8_t factor = static_cast<int8_t>(scales[quarter * 2 + part]);
        const float scale = d * static_cast<float>(factor);
        for (int i = part * 16; i < part * 16 + 16; ++i) {
          const int high = (upper[i] >> (quarter * 2)) & 3;
          const int value = ((q[i] >> shift) & 15) | (high << 4);
          dst[quarter * 32 + i] = scale * static_cast<float>(value - 32);
        }
      }
    }
  }
}

template <DType type, void (*Decode)(const uint8_t*, float*)>
void DecodeBlocks(const uint8_t* src, size_t n, float* dst) {
  constexpr size_t kElements = Traits(type).block_elements;
  constexpr size_t kBytes = Traits(type).block_bytes;
  for (size_t i = 0; i < n; i += kElements, src += kBytes) Decode(src, dst + i);
}

template <typename Stored, float (*Convert)(Stored)>
void ConvertEach(const uint8_t* src, size_t n, float* __restrict dst) {
  for (size_t i = 0; i < n; ++i) {
    dst[i] = Convert(Load<Stored>(src + i * sizeof(Stored)));
  }
}

template <typename Integer>
float FromInteger(Integer value) {
  return static_cast<float>(value);
}

}  // namespace

void Dequantize(DType type, const void* source, size_t n, float* dst) {
  const auto* src = static_cast<const uint8_t*>(source);
  switch (type) {
    case DType::kF32:
      if (n > 0) std::memcpy(dst, src, n * sizeof(float));
      return;
    case DType::kF16:
      return ConvertEach<uint16_t, FromF16>(src, n, dst);
    case DType::kBF16:
      return ConvertEach<bf16_t, FromBF16>(src, n, dst);
    case DType::kF8E4M3:
      return ConvertEach<uint8_t, FromF8E4M3>(src, n, dst);
    case DType::kI32:
      return ConvertEach<int32_t, FromInteger>(src, n, dst);
    case DType::kI64:
      return ConvertEach<int64_t, FromInteger>(src, n, dst);
    case DType::kQ4_0:
      return DecodeBlocks<DType::kQ4_0, DecodeQ4_0>(src, n, dst);
    case DType::kQ4_1:
      return DecodeBlocks<DType::kQ4_1, DecodeQ4_1>(src, n, dst);
    case DType::kQ5_0:
      return DecodeBlocks<DType::kQ5_0, DecodeQ5_0>(src, n, dst);
    case DType::kQ5_1:
      return DecodeBlocks<DType::kQ5_1, DecodeQ5_1>(src, n, dst);
    case DType::kQ8_0:
      return DecodeBlocks<DType::kQ8_0, DecodeQ8_0>(src, n, dst);
    case DType::kQ4_K:
      return DecodeBlocks<DType::kQ4_K, DecodeQ4_K>(src, n, dst);
    case DType::kQ5_K:
      return DecodeBlocks<DType::kQ5_K, DecodeQ5_K>(src, n, dst);
    case DType::kQ6_K:
      return DecodeBlocks<DType::kQ6_K, DecodeQ6_K>(src, n, dst);
  }
}

}  // namespace mla::kernels

// RowFormat: how the elements of one cached row lie in memory.
//
// f32, bf16: one after the other. fp8: the latent as e4m3 codes with a scale
// for every kRowScaleElements of them, and what all groups share behind it (the
// rope key, an indexer's key) as bf16, since rounding a rotated key to eight
// bits costs more than it saves:
//   codes | float32 scales | bf16 elements
// each padded, the scales to where 4 bytes may stand and the rest to where 16.
// For a latent of 512 and a rope key of 64 that is FlashMLA's row of 656 bytes.
// A scale is the smallest power of two with which the largest code is no more
// than 448, e4m3's largest: what is read is exact in bf16. Any scale is read.
// Units: `_at` and `bytes` are bytes. C++17-clean: .cu files include it.
#ifndef MLA_KERNELS_ROW_FORMAT_H_
#define MLA_KERNELS_ROW_FORMAT_H_

#include "kernels/attn_layout.h"
#include "kernels/dtype.h"

namespace mla::kernels {

constexpr int kRowScaleElements = 128;

struct RowFormat {
  DType dtype = DType::kF32;  // kF32, kBF16 or kF8E4M3
  int width = 0;              // elements
  int bytes = 0;
  int quantised = 0;  // the first elements, which are codes
  int scales_at = 0;
  int rest_at = 0;  // the other elements: float32 if kF32, else bf16

  bool operator==(const RowFormat& o) const {
    return dtype == o.dtype && width == o.width && bytes == o.bytes &&
           quantised == o.quantised && scales_at == o.scales_at &&
           rest_at == o.rest_at;
  }
};

// Of `quantised` codes before the rest, if it is fp8.
// REQUIRES: dtype is one of the three.
inline RowFormat RowFormatOf(int width, int quantised, DType dtype) {
  constexpr int kPiece = 16;  // bytes that are loaded at once
  const auto round_up = [](int bytes, int to) {
    return (bytes + to - 1) / to * to;
  };
  RowFormat f;
  f.dtype = dtype;
  f.width = width;
  if (dtype != DType::kF8E4M3) {
    f.bytes = width * static_cast<int>(SizeOf(dtype));
    return f;
  }
  const int scales = (quantised + kRowScaleElements - 1) / kRowScaleElements;
  f.quantised = quantised;
  f.scales_at = round_up(quantised, 4);
  f.rest_at = round_up(f.scales_at + 4 * scales, kPiece);
  f.bytes = round_up(f.rest_at + 2 * (width - quantised), kPiece);
  return f;
}
inline RowFormat RowFormatOf(int width, DType dtype) {
  return RowFormatOf(width, width, dtype);
}

inline RowFormat RowFormatOf(const AttnLayout& layout, DType dtype) {
  // What stands at the row's end and is shared is not quantised.
  int quantised = layout.row_width;
  for (const Slice* s : {&layout.index, &layout.key[1]}) {
    if (s->length > 0 && s->group_stride == 0 &&
        s->offset + s->length == quantised) {
      quantised = s->offset;
    }
  }
  return RowFormatOf(layout.row_width, quantised, dtype);
}

// The scale for codes of elements whose largest magnitude is `most`. That of
// nothing but zeros, or of an infinity, is finite and not zero either.
MLA_HOST_DEVICE inline float RowScale(float most) {
  const uint32_t bits = BitsOfFloat(most);
  // 448 = 1.75 * 2^8
  int exponent = static_cast<int>(bits >> 23) - 8;
  if ((bits & 0x7fffffu) > 0x600000u) ++exponent;
  if (exponent < 27) exponent = 27;  // 2^-100: its inverse is finite, too
  return FloatFromBits(static_cast<uint32_t>(exponent) << 23);
}

}  // namespace mla::kernels

#endif  // MLA_KERNELS_ROW_FORMAT_H_

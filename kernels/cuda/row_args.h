// What the row-wise kernels are told: norms, rotations, gates, sums and casts
// of activations, which are float32 [rows, columns] in device memory.
// C++17-clean, trivially copyable; pointers are to device memory.
#ifndef MLA_KERNELS_CUDA_ROW_ARGS_H_
#define MLA_KERNELS_CUDA_ROW_ARGS_H_

#include <cstdint>

#include "kernels/views.h"

namespace mla::kernels::cuda {

// y = scale * table[tokens[row]]; a token outside the table gives zeros.
struct EmbedArgs {
  const int32_t* tokens = nullptr;  // [y.rows]
  const void* table = nullptr;      // [vocabulary, stride], f32 or bf16
  int32_t vocabulary = 0;
  int64_t stride = 0;  // elements
  bool table_is_f32 = false;
  float scale = 1.0f;
  Rows y;
};

// Of each row's pieces, `length` columns at `stride`:
//   RMSNorm:   y = x / sqrt(mean(x^2) + eps) * w
//   LayerNorm: y = (x - mean(x)) / sqrt(var(x) + eps) * w + bias
// y may be x; its pieces lie where x's do.
struct NormArgs {
  Rows x, y;
  int32_t pieces = 1;
  int32_t stride = 0;
  int32_t length = 0;
  const float* w = nullptr;     // [length], of all pieces
  const float* bias = nullptr;  // not null: LayerNorm
  float eps = 0.0f;
};

// Rotary position embedding, in place: see kernels/cpu/elementwise.h.
struct RotateArgs {
  Rows x;
  int32_t heads = 1;
  int32_t head_stride = 0;
  int32_t dim = 0;  // rotated elements of a head, from its first on
  int32_t sets = 1;
  const float* cos = nullptr;  // [rows, sets * dim / 2]
  const float* sin = nullptr;
};

// One row of float32 -> bf16 pieces: piece p of the row is x's columns [p *
// stride, p * stride + length), then zeros up to `padded`.
struct CastArgs {
  Rows x;
  int32_t pieces = 1;
  int32_t stride = 0;
  int32_t length = 0;
  uint16_t* y = nullptr;
  int64_t y_row_stride = 0;    // elements
  int32_t y_piece_stride = 0;  // elements
  int32_t padded = 0;
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ROW_ARGS_H_

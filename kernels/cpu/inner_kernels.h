// InnerKernels: the single-threaded inner loops of one Isa, as a table.
// kernels/*.cc split the work, thread it and call through the table.
// Threads: stateless; any.
// Every function gives a row the same bits whatever other rows it is called
// with, which is what makes results independent of the batch.
#ifndef MLA_KERNELS_CPU_INNER_KERNELS_H_
#define MLA_KERNELS_CPU_INNER_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/dtype.h"

namespace mla::kernels {

// Outputs that one panel of a packed matrix holds (kernels/packed_matrix.h).
inline constexpr int kPanel = 16;

constexpr int WholePanels(int n) { return (n + kPanel - 1) / kPanel * kPanel; }

// Tokens of keys and values that one attention tile holds.
inline constexpr int kTileTokens = 64;

// y[rows, 16 * panels] = x[rows, k] * panels^T. See kernels/packed_matrix.h.
struct GemmArgs {
  DType dtype;      // of the panels
  const void* x;    // [rows, k] float, or bf16 pairs (see bf16_inputs)
  size_t x_stride;  // elements between rows
  int rows;
  int k;
  const std::byte* w;  // first panel
  size_t panel_bytes;
  int outputs;        // <= 16 * panels; the rest is not stored
  const float* bias;  // [outputs] or null
  float* y;           // [rows, outputs]
  size_t y_stride;
};

// One tile of keys and values folded into the running softmax of `rows` query
// rows: max, sum and output are those of all tiles so far (2205.14135).
struct AttendTileArgs {
  int rows;
  const float* q;  // [rows, key_length], scaled by softmax scale * log2(e)
  size_t q_stride;
  const float* k_t;  // [key_length, kTileTokens]; unused tokens are zero
  int key_length;
  const float* v;      // [tokens, value_length], padded with zeros to...
  int value_length;    // ...a multiple of kPanel: WholePanels
  int tokens;          // in this tile, 1..kTileTokens
  const int* visible;  // [rows]: the row sees tokens [0, visible)
  float* max;          // [rows], log2 units; -inf before the first token
  float* sum;          // [rows]
  float* out;          // [rows, value_length], not yet divided by sum
  size_t out_stride;
};

struct InnerKernels {
  // BF16 panels take x as bf16, [rows, 2 * ceil(k/2)], zero-padded.
  bool bf16_inputs;

  void (*gemm)(const GemmArgs& args);
  void (*attend_tile)(const AttendTileArgs& args);
  // dst[j * kTileTokens + t] = element offset + j of row t, as float.
  void (*pack_keys)(DType dtype, const void* const* rows, int tokens,
                    int offset, int length, float* dst);
  void (*to_float)(DType dtype, const void* src, int n, float* dst);
  void (*from_float)(DType dtype, const float* src, int n, void* dst);
  // y = x / sqrt(mean(x^2) + eps) * w, over n elements. y may be x.
  void (*rms_norm)(const float* x, const float* w, float eps, int n, float* y);
  // y = silu(gate) * up. y may be gate.
  void (*silu_mul)(const float* gate, const float* up, int n, float* y);
  // y += scale * x
  void (*add_scaled)(const float* x, float scale, int n, float* y);
};

// REQUIRES: IsSupported(isa).
const InnerKernels& GetInnerKernels(Isa isa);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_INNER_KERNELS_H_

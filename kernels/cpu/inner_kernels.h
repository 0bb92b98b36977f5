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

// Consecutive inputs that share a scale in quantised weights and activations.
inline constexpr int kGroup = 32;

constexpr int Groups(int k) { return (k + kGroup - 1) / kGroup; }

// A row of activations in bytes, to meet weights in bytes or nibbles: input i
// of group g is scale[g] * x[i]. One after the other:
//   int8 x[32 * groups]     zero behind the last input
//   float scale[groups]     the group's largest magnitude / 127
//   int32 offset[groups]    -128 * sum of the group's x: weights' bytes are
//                           stored plus 128, since VNNI multiplies unsigned
//                           with signed
//   float sum[groups]       scale * sum of the group's x, which meets the
//                           weights' minimum
constexpr size_t QuantisedRowBytes(int k) {
  return (static_cast<size_t>(Groups(k)) * (kGroup + 12) + 63) / 64 * 64;
}

// Tokens of keys and values that one attention tile holds.
inline constexpr int kTileTokens = 64;

// y[rows, 16 * panels] = x[rows, k] * panels^T. See kernels/packed_matrix.h.
struct GemmArgs {
  DType dtype;      // of the panels
  const void* x;    // [rows, k] float, or as the flags of InnerKernels say
  size_t x_stride;  // bytes between rows
  int rows;
  int k;
  const std::byte* w;  // first panel
  size_t panel_bytes;
  int outputs;        // <= 16 * panels; the rest is not stored
  const float* bias;  // [outputs] or null
  float* y;           // [rows, outputs]
  size_t y_stride;
};

// Max, sum and output of query rows over all tiles so far (2205.14135).
struct SoftmaxState {
  float* max;  // [rows], log2 units; -inf before the first token
  float* sum;  // [rows]
  float* out;  // [rows, value_length], not yet divided by sum
  size_t out_stride;
};

// One tile of keys and values folded into the running softmax of `rows` query
// rows.
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
  SoftmaxState state;
};

// Elements [offset, offset + length) of a row.
struct RowSlice {
  int offset;
  int length;
};

// Slices that a query or an output stands for one after the other, each from a
// multiple of 32 elements on.
constexpr int PaddedLength(const RowSlice (&slices)[2]) {
  return (slices[0].length + 31) / 32 * 32 + (slices[1].length + 31) / 32 * 32;
}

// One tile of bf16 rows, as they lie in the cache, folded into the running
// softmax of the `heads` of one query that read these slices.
struct AttendRowsArgs {
  int heads;
  const bf16_t* q;  // [heads, PaddedLength(key)], scaled as above, zero-padded
  size_t q_stride;
  const void* const* rows;
  int tokens;  // 1..kTileTokens
  // Rows that are read soon, for the same slices: asked for on the way.
  const void* const* next;
  int next_tokens;
  RowSlice key[2];
  RowSlice value[2];
  SoftmaxState state;  // out: [heads, PaddedLength(value)]
};

// AttendTileArgs in bf16: keys and values in pairs.
struct AttendPairsArgs {
  int rows;
  const bf16_t* q;  // [rows, 2 * key_pairs]
  size_t q_stride;
  const uint32_t* k;  // [kTileTokens / 16][key_pairs][16]
  int key_pairs;
  const uint32_t* v;  // [value_length / 16][kTileTokens / 2][16]
  int value_length;   // whole panels
  int tokens;
  const int* visible;
  SoftmaxState state;
};

struct InnerKernels {
  // BF16 panels take x as bf16, [rows, 2 * ceil(k/2)], zero-padded.
  bool bf16_inputs;
  // Q8_0 and Q4_1 panels take x as quantise_row leaves it.
  bool quantised_inputs;

  void (*gemm)(const GemmArgs& args);
  void (*attend_tile)(const AttendTileArgs& args);
  // dst[j * kTileTokens + t] = element offset + j of row t, as float.
  void (*pack_keys)(DType dtype, const void* const* rows, int tokens,
                    int offset, int length, float* dst);
  void (*to_float)(DType dtype, const void* src, int n, float* dst);
  // x [k] to QuantisedRowBytes(k) bytes, to nearest; the same on every Isa.
  void (*quantise_row)(const float* x, int k, void* dst);
  void (*from_float)(DType dtype, const float* src, int n, void* dst);
  // y = x / sqrt(mean(x^2) + eps) * w, over n elements. y may be x.
  void (*rms_norm)(const float* x, const float* w, float eps, int n, float* y);
  // y = silu(gate) * up. y may be gate.
  void (*silu_mul)(const float* gate, const float* up, int n, float* y);
  // y += scale * x
  void (*add_scaled)(const float* x, float scale, int n, float* y);
  // x[i] and x[i + half] as one complex number each, times (cos, sin)[i].
  void (*rotate)(int half, const float* cos, const float* sin, float* x);

  // ---- null where the Isa has no products of bf16
  void (*attend_rows)(const AttendRowsArgs& args) = nullptr;
  // Elements [offset, offset + length) of each row, an even number, as pairs
  // from dst on; `panel_pairs` of a whole key.
  void (*pack_key_pairs)(const void* const* rows, int tokens, int offset,
                         int length, int panel_pairs, uint32_t* dst) = nullptr;
  void (*pack_value_pairs)(const void* const* rows, int tokens, int offset,
                           int length, uint32_t* dst) = nullptr;
  void (*attend_pairs)(const AttendPairsArgs& args) = nullptr;

  bool bf16_attention() const { return attend_rows != nullptr; }
};

// REQUIRES: IsSupported(isa).
const InnerKernels& GetInnerKernels(Isa isa);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_INNER_KERNELS_H_

// What the kernels of a mixture of experts are told. A pair is a row and one of
// the top_k experts it was sent to: pair i is row i / top_k's. Pairs are sorted
// by expert, so that an expert's rows are consecutive and meet its weights
// together: tiles of at most kExpertTileRows rows of one expert each.
// C++17-clean, trivially copyable; pointers are to device memory.
#ifndef MLA_KERNELS_CUDA_MOE_ARGS_H_
#define MLA_KERNELS_CUDA_MOE_ARGS_H_

#include <cstdint>

#include "kernels/router_args.h"
#include "kernels/row_format.h"
#include "kernels/views.h"

namespace mla::kernels::cuda {

// The top_k experts with the largest corrected score, ties to the lower index,
// and their scores without the correction: see kernels/cpu/moe.h. NaN scores
// are chosen last; they change no other row.
struct RouteArgs {
  Rows logits;  // [rows, experts and identities]
  RouterArgs router;
  int32_t* experts = nullptr;  // [rows, top_k], best first
  float* weights = nullptr;    // [rows, top_k]
};

// Sorted rows [row0, row0 + rows) are of `expert`.
struct ExpertTile {
  int32_t expert = 0;
  int32_t row0 = 0;
  int32_t rows = 0;
};

struct SortArgs {
  const int32_t* experts =
      nullptr;  // [pairs]; ids past num_experts: identities
  int32_t pairs = 0;
  int32_t num_experts = 0;
  int32_t tile_rows = 16;
  int32_t* position = nullptr;  // [pairs]: where among the sorted rows; -1: not
  ExpertTile* tiles = nullptr;  // [max_tiles], those without rows at the end
  int32_t max_tiles = 0;        // MaxExpertTiles at least
};
// An upper bound on the tiles of any routing.
inline int32_t MaxExpertTiles(int32_t pairs, int32_t experts,
                              int32_t tile_rows) {
  const int32_t used = pairs < experts ? pairs : experts;
  return used + (pairs - used) / tile_rows;
}

// sorted[position[i]] = bf16(x[i / top_k]), zeros behind up to the stride.
struct SpreadArgs {
  Rows x;
  int32_t top_k = 1;
  const int32_t* position = nullptr;  // [x.rows * top_k]
  uint16_t* sorted = nullptr;
  int64_t stride = 0;  // elements, a multiple of 8
};

// y = x w^T + bias for each tile's rows with its expert's weights; bf16
// operands, float32 sums, each over k in one fixed order whatever the tile.
//
// Weights are bf16 (w), or e4m3 codes with a scale for each 128 of a row,
// RowFormatOf(k, kF8E4M3): those are widened, which is exact, and each 128's
// products are summed before they are scaled (DeepSeek-V3, 2412.19437, section
// 3.3.2), so that it is the codes' own values that are multiplied.
struct ExpertGemmArgs {
  const uint16_t* x = nullptr;  // [sorted rows, stride], zeros behind k
  int64_t x_stride = 0;         // elements, a multiple of 8
  // [experts]: each [n, w_stride], zeros behind k
  const uint16_t* const* w = nullptr;
  int64_t w_stride = 0;                         // elements, a multiple of 8
  const unsigned char* const* codes = nullptr;  // [experts], instead of w
  RowFormat format;                             // of codes' rows
  int32_t n = 0;
  int32_t k = 0;
  const ExpertTile* tiles = nullptr;
  int32_t num_tiles = 0;   // launched; those without rows return at once
  int32_t tile_rows = 16;  // the most that one has: 16 or 64
  float* y = nullptr;      // [sorted rows, n]
  // A layer without experts: its codes, which all `rows` are for; no tiles.
  const unsigned char* only = nullptr;
  int32_t rows = 0;
  int64_t y_stride = 0;         // if not n
  const float* bias = nullptr;  // [n], may be null
};

// sorted = bf16(silu(gate) * up) of x = [gate | up], zeros behind.
struct ExpertActivateArgs {
  Rows x;                      // [sorted rows, 2 * intermediate]
  uint16_t* sorted = nullptr;  // [sorted rows, stride]
  int64_t stride = 0;
};

// y[r] = sum over row r's pairs, in order, of weight * its expert's result; an
// identity's is x[r], or nothing where x is empty.
struct ExpertSumArgs {
  Rows x, y;
  int32_t top_k = 1;
  const int32_t* position = nullptr;
  const float* weights = nullptr;
  const float* results = nullptr;  // [sorted rows, y.cols]
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_MOE_ARGS_H_

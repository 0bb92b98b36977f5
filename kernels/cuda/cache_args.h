// What the kernels are told that write, merge, gather and select cached rows.
// A token's row lies at
//   cache + block * block_bytes
//         + position % block_tokens / time_stride * format.bytes.
// C++17-clean, trivially copyable; pointers are to device memory.
#ifndef MLA_KERNELS_CUDA_CACHE_ARGS_H_
#define MLA_KERNELS_CUDA_CACHE_ARGS_H_

#include <cstdint>

#include "kernels/attn_layout.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/views.h"

namespace mla::kernels::cuda {

// One layer's rows in the block pool.
struct CacheArgs {
  unsigned char* cache = nullptr;
  int64_t block_bytes = 0;
  int32_t block_tokens = 1;
  int32_t time_stride = 1;
  RowFormat format;
};

// A norm, as NormArgs: `count` pieces of the row, `length` elements from
// `first` on and every `stride`.
struct RowNorm {
  int64_t first = 0;
  int32_t count = 1;
  int32_t stride = 0;
  int32_t length = 0;
  float eps = 0.0f;
  const float* w = nullptr;
  const float* bias = nullptr;
};

// A rotation, as RotateArgs: `count` heads.
struct RowTurn {
  int32_t first = 0;
  int32_t count = 1;
  int32_t stride = 0;
};

constexpr int kMaxRowSteps = 4;

// Row i of x, normed and then rotated, becomes the cache row of the token at
// positions[i], whose block is blocks[i]; a negative block: nowhere (a row that
// only pads a batch). x stays as it is.
// REQUIRES: time_stride 1; steps only where CanPrepareRows (launch/cache.h).
struct WriteRowsArgs {
  CacheArgs cache;
  Rows x;  // [rows, format.width]
  const int32_t* positions = nullptr;
  const int32_t* blocks = nullptr;

  // No padding in or before the arrays: g++ 12's __builtin_clear_padding, which
  // tests use, clears members then.
  int32_t num_norms = 0;
  int32_t num_turns = 0;
  RowNorm norms[kMaxRowSteps];
  RowTurn turns[kMaxRowSteps];
  int32_t dim = 0;  // rotated elements of a head
  int32_t sets = 1;
  const float* cos = nullptr;  // [rows, sets * dim / 2]
  const float* sin = nullptr;
};

// MTLA's (2505.13544), see kernels/cpu/time_merge.h: of every span, in the
// order of its rows. No two of the spans are of one sequence.
// REQUIRES: rows are bf16 or float32.
struct MergeRowsArgs {
  CacheArgs cache;
  Rows x;
  const AttentionSpan* spans = nullptr;
  int32_t num_spans = 0;
  const int32_t* block_tables = nullptr;
  int32_t summed = 0;               // the first columns are added up
  unsigned char* newest = nullptr;  // [rows of the step, row bytes]
};

// Cache rows [first, first + count) of one sequence, by their index (0 the
// oldest), as bf16 pieces: piece p of row i is the row's elements [slice.offset
// + p * slice.group_stride, ... + slice.length), then zeros up to `padded`, at
// y + i * y_row_stride + p * y_piece_stride. Or as float32, at y_f32.
struct GatherRowsArgs {
  CacheArgs cache;
  const int32_t* block_table = nullptr;
  int32_t first = 0;
  int32_t count = 0;
  Slice slice;
  int32_t pieces = 1;
  uint16_t* y = nullptr;  // one of the two
  float* y_f32 = nullptr;
  int64_t y_row_stride = 0;  // elements
  int32_t y_piece_stride = 0;
  int32_t padded = 0;
};

// DeepSeek-V3.2's indexer, see kernels/cpu/sparse_attention.h: of the tokens
// [0, positions[i]] that row i may see, the top_k with the largest
//   I_t = sum over heads h of weights[i, h] * relu(queries[i, h] . k_t),
// ties to the earlier token; all of them where they are no more than top_k.
struct SelectArgs {
  CacheArgs cache;
  Slice index;   // of the row: k_t
  Rows queries;  // [rows, heads * index.length]
  Rows weights;  // [rows, heads]
  int32_t heads = 0;
  int32_t top_k = 0;
  const int32_t* positions = nullptr;     // [rows]; negative: sees nothing
  const int32_t* tables = nullptr;        // [rows]: where in block_tables...
  const int32_t* block_tables = nullptr;  // ...its sequence's begin
  float* scores = nullptr;                // [rows, max_tokens], scratch
  int32_t max_tokens = 0;                 // more than any position
  int32_t* selected = nullptr;  // [rows, top_k], ascending; rubbish behind
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_CACHE_ARGS_H_

// What the attention kernels are told: where queries, cached rows and results
// lie, and which piece of work each thread block takes. Made on the host by
// kernels/plan/attention_plan.h; C++17-clean, trivially copyable.
//
// A group's queries are packed: with `heads` virtual heads that read the group,
// packed row r of a span is its token r / heads and the group's head r % heads.
// "Index" counts the cache rows that a query sees, 0 the oldest.
#ifndef MLA_KERNELS_CUDA_ATTENTION_ARGS_H_
#define MLA_KERNELS_CUDA_ATTENTION_ARGS_H_

#include <cstdint>

#include "kernels/attn_layout.h"
#include "kernels/row_format.h"

namespace mla::kernels::cuda {

// Consecutive tokens of one sequence among the step's rows.
struct AttentionSpan {
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t first_position = 0;
  int32_t block_table = 0;  // its first entry in AttentionArgs::block_tables
};

// Packed rows [row0, row0 + num_rows) of a span's group over indices [begin,
// end).
struct AttentionWork {
  int32_t span = 0;
  int32_t group = 0;
  int32_t row0 = 0;
  int32_t num_rows = 0;
  int32_t begin = 0;
  int32_t end = 0;
  int32_t slot = -1;  // of the partial result; -1: the result is final
};

// Partial results that make one: slots [first_slot, first_slot + num_slots).
struct CombineWork {
  int32_t span = 0;
  int32_t group = 0;
  int32_t row0 = 0;
  int32_t num_rows = 0;
  int32_t first_slot = 0;
  int32_t num_slots = 0;
};

struct AttentionArgs {
  // [rows, virtual heads, key length] bf16; strides in elements and multiples
  // of 8, elements behind the key length are zeros.
  const uint16_t* q = nullptr;
  int64_t q_row_stride = 0;
  int32_t q_head_stride = 0;

  // Row i of a span lies in block block_tables[span.block_table + i /
  // block_rows]; without tables at i - first_cached rows from `cache` on.
  const unsigned char* cache = nullptr;
  const int32_t* block_tables = nullptr;
  int64_t block_bytes = 0;
  int32_t block_rows = 1;
  int32_t first_cached = 0;
  RowFormat format;

  Slice key[2];
  Slice value[2];
  const int32_t* first_head = nullptr;  // [groups + 1]
  float scale_log2 = 1.0f;              // softmax scale * log2(e)

  // Where rows stand for several tokens: each query's newest row, [rows,
  // format.bytes]. Where queries choose theirs: [rows, top_k] positions.
  int32_t time_stride = 1;
  const unsigned char* newest_rows = nullptr;
  const int32_t* selected = nullptr;
  int32_t top_k = 0;

  const AttentionSpan* spans = nullptr;
  const AttentionWork* work = nullptr;
  const int32_t* work_begin = nullptr;  // [thread blocks + 1]

  // [rows, virtual heads, value length]: one of the two, strides in elements.
  // bf16 is padded with zeros up to out_head_stride, which is even and at most
  // the shape's kValueDim.
  float* out_f32 = nullptr;
  uint16_t* out_bf16 = nullptr;
  int64_t out_row_stride = 0;
  int32_t out_head_stride = 0;

  float* partial = nullptr;      // [slots, BM, value dim], normalised
  float* partial_lse = nullptr;  // [slots, BM], base 2

  // Keys may come a part at a time: what earlier parts gave is kept in `state`
  // [rows, virtual heads, value length] with its lse [rows, virtual heads], and
  // merged. Null: all at once.
  float* state = nullptr;
  float* state_lse = nullptr;
  int32_t virtual_heads = 0;
  bool first_part = true;
  bool last_part = true;
};

struct CombineArgs {
  AttentionArgs attention;
  const CombineWork* work = nullptr;  // one per BM rows
  int32_t num_work = 0;
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ATTENTION_ARGS_H_

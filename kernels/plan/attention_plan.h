// PlanAttention cuts a step's attention into pieces of work and deals them out
// to thread blocks: kernels/cuda/attention.cuh runs them as they stand.
//
// Where a sequence is cut depends on its own length and nothing else, so a
// request's sums are the same alone and in any batch. Only who computes what
// depends on the others: the longest pieces first, each to the block that has
// the least (Graham 1969; at most 4/3 of the best makespan).
// Threads: any. Plain C++; sizes are the caller's to check.
#ifndef MLA_KERNELS_PLAN_ATTENTION_PLAN_H_
#define MLA_KERNELS_PLAN_ATTENTION_PLAN_H_

#include <cstdint>
#include <vector>

#include "kernels/attn_layout.h"
#include "kernels/cuda/attention_args.h"

namespace mla::kernels {

struct AttentionPlanOptions {
  int tile_rows = 16;     // packed rows of one piece: the kernel shape's kRows
  int thread_blocks = 1;  // that run at once
  bool cut_long = true;   // into pieces that are combined; decode's way
  int time_stride = 1;    // tokens that a cache row stands for
  int top_k = 0;          // a query sees at most so many rows; 0: all
  bool token_tiles = false;  // no piece has rows of two tokens
  // Cache rows [first_index, end_index) alone; negative: to the last.
  int first_index = 0;
  int end_index = -1;
};

struct AttentionPlan {
  std::vector<cuda::AttentionWork> work;  // a block's pieces one by one
  std::vector<int32_t> work_begin;        // [thread_blocks + 1]
  std::vector<cuda::CombineWork> combine;
  int slots = 0;  // of partial results
  int tiles = 0;  // at most so many need combining, however long they are
};

AttentionPlan PlanAttention(const AttnLayout& layout,
                            const std::vector<cuda::AttentionSpan>& spans,
                            const AttentionPlanOptions& options);

// Rows of a piece of a sequence with `length` rows: whole pages of 64, few
// enough pieces that combining them is cheap, enough to fill a GPU by itself.
int PieceRows(int length);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_PLAN_ATTENTION_PLAN_H_

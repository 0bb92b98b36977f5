// Attention over paged cache rows, driven by the layout descriptor.
//
// Two paths compute the same function. AttendDecode absorbs the up-projections
// into the query and the output, so that every row is read once for all heads
// and no per-head key or value is ever built. AttendPrefill materialises one
// tile of a head's keys and values at a time, which is cheaper when many
// queries share it. Layouts without up-projections (GQA in exact form) have
// nothing to absorb: both paths read slices of the rows.
//
// A query's result depends on its own position and path only: neither on the
// other sequences, nor on how a prompt was cut into chunks, nor on threads.
// Threads: the context's caller.
#ifndef MLA_KERNELS_CPU_ATTENTION_H_
#define MLA_KERNELS_CPU_ATTENTION_H_

#include <vector>

#include "kernels/attn_layout.h"
#include "kernels/cpu/context.h"
#include "kernels/packed_matrix.h"
#include "kernels/views.h"

namespace mla::kernels {

// Per-head up-projections from the latent c [r] (2405.04434, eq. 10-11, 13).
struct UpProjection {
  int qk_nope_head_dim = 0;
  int qk_rope_head_dim = 0;
  int v_head_dim = 0;
  std::vector<PackedMatrix> k;           // W_UK [nope, r]: k = W_UK c
  std::vector<PackedMatrix> k_absorbed;  // W_UK^T [r, nope]: q' = W_UK^T q
  std::vector<PackedMatrix> v;           // W_UV [v, r]: o = W_UV (sum p c)
};

struct AttentionOp {
  AttnLayout layout;
  float scale = 1.0f;                // of q . k, before the softmax
  const UpProjection* up = nullptr;  // null: the rows are keys and values
};

// q: [rows, heads * query head dim], rotated; out: [rows, heads * v head dim].
// The spans' own rows are in the cache already. Decode's spans are consecutive
// in rows.
void AttendDecode(CpuContext& cpu, const AttentionOp& op,
                  const CacheRows& cache, const SequenceSpan* spans,
                  int num_spans, Rows q, Rows out);
void AttendPrefill(CpuContext& cpu, const AttentionOp& op,
                   const CacheRows& cache, const SequenceSpan* spans,
                   int num_spans, Rows q, Rows out);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ATTENTION_H_

// Attention over paged cache rows, driven by the layout descriptor.
//
// Two paths compute the same function. AttendDecode absorbs the up-projections
// into the query and the output, so that every row is read once for all heads
// and no per-head key or value is ever built. AttendPrefill materialises one
// tile of a head's keys and values at a time, which is cheaper when many
// queries share it. Layouts without up-projections (GQA in exact form) have
// nothing to absorb: both paths read slices of the rows. Where keys are rotated
// on read, both build a tile of a group's keys first.
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

// Up-projections from the row (2405.04434, eq. 10-11, 13). Each may be missing:
// then the row's slices are the keys, or the values, themselves.
struct UpProjection {
  // W_UK [nope, n]: the first n elements of a key view become `nope`, what is
  // left of it stands behind. One per virtual head, or per group where keys
  // are rotated on read, which has no use for `k_absorbed`.
  std::vector<PackedMatrix> k;
  std::vector<PackedMatrix> k_absorbed;  // W_UK^T [n, nope]: q' = W_UK^T q
  // W_UV [v, value_length], one per virtual head: o = W_UV (sum p c).
  std::vector<PackedMatrix> v;
};

struct AttentionOp {
  AttnLayout layout;
  float scale = 1.0f;                // of q . k, before the softmax
  const UpProjection* up = nullptr;  // null: the rows are keys and values
  // If keys are rotated on read: the angles of every position up to the last
  // query's, [positions, dim / 2].
  Rows cos = {};
  Rows sin = {};
  // If rows stand for several tokens: each query's newest row as it was when
  // that query was its newest token, [rows, row_width] of the cache's type.
  const std::byte* newest_rows = nullptr;

  bool projects_keys() const { return up != nullptr && !up->k.empty(); }
  bool projects_values() const { return up != nullptr && !up->v.empty(); }
  bool absorbs_keys() const {
    return projects_keys() && !layout.rotate_on_read;
  }
  int query_dim() const {
    return layout.key_length() +
           (projects_keys() ? up->k[0].n() - up->k[0].k() : 0);
  }
  int output_dim() const {
    return projects_values() ? up->v[0].n() : layout.value_length();
  }
};

// q: [rows, heads * query_dim], rotated; out: [rows, heads * output_dim].
// The spans' own rows are in the cache already. Decode's spans are consecutive
// in rows.
// REQUIRES: several branches only where keys are absorbed; AttendPrefill: rows
// that stand for one token.
void AttendDecode(CpuContext& cpu, const AttentionOp& op,
                  const CacheRows& cache, const SequenceSpan* spans,
                  int num_spans, Rows q, Rows out);
void AttendPrefill(CpuContext& cpu, const AttentionOp& op,
                   const CacheRows& cache, const SequenceSpan* spans,
                   int num_spans, Rows q, Rows out);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ATTENTION_H_

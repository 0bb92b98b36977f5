// Keys and values that depend on the token, not only on its row: EG-MLA
// (2509.16686) multiplies the up-projected latent by a gate looked up by the
// token and normalises the product,
//   [k; v] = LayerNorm((W_UKV c) * (W_UE e_token)),
// which nothing can absorb. So the rows that a query sees are built anew,
// as plain keys and values of every head.
#ifndef MLA_KERNELS_CPU_GATED_ROWS_H_
#define MLA_KERNELS_CPU_GATED_ROWS_H_

#include "kernels/cpu/attention.h"

namespace mla::kernels {

struct GatedProjection {
  const PackedMatrix* up = nullptr;     // [heads * (nope + v), latent]
  const PackedMatrix* gate = nullptr;   // [heads * (nope + v), embedding]
  const PackedMatrix* table = nullptr;  // [vocabulary, embedding]
  const float* norm = nullptr;          // [heads * (nope + v)], and its...
  const float* norm_bias = nullptr;
  float eps = 0;
  int heads = 0;
  int nope = 0;
  int rope = 0;
  int v_dim = 0;
};

// Attends as AttendDecode and AttendPrefill do, a sequence at a time, over rows
// [c | k_rope]. Each span needs its sequence's tokens.
// Threads: the context's caller. Memory: a sequence's keys and values, f32.
void AttendGated(CpuContext& cpu, const GatedProjection& gated, float scale,
                 bool decode, const CacheRows& cache, const SequenceSpan* spans,
                 int num_spans, Rows q, Rows out);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_GATED_ROWS_H_

// Rows that stand for several tokens (MTLA, 2505.13544): the latents of a chunk
// of `time_stride` tokens add up, the rope key is that of the newest.
#ifndef MLA_KERNELS_CPU_TIME_MERGE_H_
#define MLA_KERNELS_CPU_TIME_MERGE_H_

#include "kernels/attn_layout.h"
#include "kernels/views.h"

namespace mla::kernels {

// Adds the span's rows of x to its chunks' rows in the cache, and keeps in
// `newest` [rows of the step, row_width of the cache's type] what each token's
// chunk was when that token was its newest. Values aliasing keys are summed,
// the rest replaced. Each sum is rounded to the cache's type, so that it does
// not matter where one step ended and the next began.
// Threads: one caller per sequence.
void MergeRows(const AttnLayout& layout, const CacheRows& cache,
               const SequenceSpan& span, Rows x, std::byte* newest);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_TIME_MERGE_H_

// Sparse attention by an indexer (DeepSeek-V3.2, 2512.02556, section 2.1): of
// the tokens it may see, a query attends to the top_k with the largest
//   I_t = sum over index heads h of w_h * relu(q_h . k_t),
// ties to the earlier token. k_t is the index slice of t's cache row. Up to
// top_k tokens that is dense attention, and computed as such.
//
// What AttendDecode and AttendPrefill promise about a query's result holds here
// too. Positive factors of I_t, which published code has, do not matter.
// Threads: the context's caller.
#ifndef MLA_KERNELS_CPU_SPARSE_ATTENTION_H_
#define MLA_KERNELS_CPU_SPARSE_ATTENTION_H_

#include "kernels/cpu/attention.h"

namespace mla::kernels {

struct Indexer {
  int heads = 0;
  int top_k = 0;
  Rows queries;  // [rows, heads * layout.index.length], rotated
  Rows weights;  // [rows, heads]
};

// Fills `selected` [rows of the step, top_k] for the spans' rows: positions,
// ascending; a query that sees fewer has them all, and rubbish behind.
void SelectTokens(CpuContext& cpu, const AttnLayout& layout,
                  const Indexer& indexer, const CacheRows& cache,
                  const SequenceSpan* spans, int num_spans, int32_t* selected);

void AttendDecodeSparse(CpuContext& cpu, const AttentionOp& op, int top_k,
                        const int32_t* selected, const CacheRows& cache,
                        const SequenceSpan* spans, int num_spans, Rows q,
                        Rows out);
void AttendPrefillSparse(CpuContext& cpu, const AttentionOp& op, int top_k,
                         const int32_t* selected, const CacheRows& cache,
                         const SequenceSpan* spans, int num_spans, Rows q,
                         Rows out);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_SPARSE_ATTENTION_H_

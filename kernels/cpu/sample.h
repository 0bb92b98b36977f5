// Draws a row's next token, as kernels/sample_args.h says.
// Threads: any; rows are independent.
#ifndef MLA_KERNELS_CPU_SAMPLE_H_
#define MLA_KERNELS_CPU_SAMPLE_H_

#include "kernels/sample_args.h"

namespace mla::kernels {

// `logits` [vocab] are changed. `changes` are the draw's own, from its first
// on. REQUIRES: vocab > 0; draw.newest < 0.
Drawn Sample(const Draw& draw, const LogitChange* changes, float* logits,
             int vocab);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_SAMPLE_H_

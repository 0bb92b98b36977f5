// Sigmoid and softmax gates that single systems put around attention.
// Threads: the context's caller. Each row is computed alone.
#ifndef MLA_KERNELS_CPU_GATING_H_
#define MLA_KERNELS_CPU_GATING_H_

#include "kernels/cpu/context.h"
#include "kernels/views.h"

namespace mla::kernels {

// y = sigmoid(gate) * up, where x = [gate | up]. y: [rows, x.cols / 2].
void SigmoidMul(CpuContext& cpu, Rows x, Rows y);

// x *= sigmoid(a . b), row by row.
void ScaleBySigmoidDot(CpuContext& cpu, Rows a, Rows b, Rows x);

// Multiplies the p-th of x's equal parts by softmax(logits)[p], p <
// logits.cols.
void ScaleParts(CpuContext& cpu, Rows logits, Rows x);

// The sinusoids of 1706.03762, section 3.5: columns 2i and 2i+1 are sine and
// cosine of position * 10000^(-2i / cols).
void Sinusoids(int position, int cols, float* y);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_GATING_H_

// Linear: y = x W^T + b, the projections of the model.
// Threads: the context's caller. Shapes: x [rows, k], W [n, k], y [rows, n].
// A row's result has the same bits whatever rows it is computed with.
#ifndef MLA_KERNELS_CPU_LINEAR_H_
#define MLA_KERNELS_CPU_LINEAR_H_

#include <vector>

#include "kernels/cpu/context.h"
#include "kernels/packed_matrix.h"
#include "kernels/views.h"

namespace mla::kernels {

void Linear(CpuContext& cpu, Rows x, const PackedMatrix& w, const float* bias,
            Rows y);

// Consecutive rows that meet the same weight: one expert's tokens.
struct LinearGroup {
  int first_row = 0;
  int num_rows = 0;
  const PackedMatrix* w = nullptr;
  const float* bias = nullptr;  // [n] or null
};

// Several weights of one shape and type at once, each for its own rows.
void GroupedLinear(CpuContext& cpu, Rows x,
                   const std::vector<LinearGroup>& groups, Rows y);

// One weight on the calling thread only, for use inside a pool task.
void LinearSerial(const InnerKernels& inner, Scratch& scratch, Rows x,
                  const PackedMatrix& w, Rows y);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_LINEAR_H_

// The row-wise ops between projections: norms, rotations, activation, sums.
// Threads: the context's caller. Each row is computed alone.
#ifndef MLA_KERNELS_CPU_ELEMENTWISE_H_
#define MLA_KERNELS_CPU_ELEMENTWISE_H_

#include "kernels/cpu/context.h"
#include "kernels/views.h"

namespace mla::kernels {

// y = x / rms(x) * w over each row; y may be x. w: [x.cols].
void RmsNorm(CpuContext& cpu, Rows x, const float* w, float eps, Rows y);

// y = (x - mean) / sqrt(var + eps) * w + bias over each row; y may be x.
void LayerNorm(CpuContext& cpu, Rows x, const float* w, const float* bias,
               float eps, Rows y);

// RmsNorm over each of a row's heads, [heads, head_dim] at `head_stride`.
void RmsNormHeads(CpuContext& cpu, Rows x, int heads, int head_stride,
                  int head_dim, const float* w, float eps);

// y = silu(gate) * up, where x = [gate | up]. y: [rows, x.cols / 2].
void SiluMul(CpuContext& cpu, Rows x, Rows y);

// y += scale * x
void AddScaled(CpuContext& cpu, Rows x, float scale, Rows y);

// Rotary position embedding (2104.09864) of every head's `dim` elements, in
// place: pair (i, i + dim / 2) is turned by the angle whose cosine and sine
// stand in column i of the tables, [rows, sets * dim / 2]: heads turn by the
// sets of angles in their order, equally many by each.
struct RopeArgs {
  int heads = 1;
  int head_stride = 0;
  int dim = 0;
  int sets = 1;
  Rows cos;
  Rows sin;
};
void Rope(CpuContext& cpu, const RopeArgs& args, Rows x);

// Stores row i of x as the cache row at slots[i].
void WriteRows(CpuContext& cpu, Rows x, const RowFormat& format,
               std::byte* const* slots);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ELEMENTWISE_H_

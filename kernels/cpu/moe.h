// Mixture of experts: which experts a token meets, and their feed-forward
// networks run grouped, each expert's weights read once for all its tokens.
// Threads: the context's caller. A token's result has the same bits whatever
// tokens share its experts.
#ifndef MLA_KERNELS_CPU_MOE_H_
#define MLA_KERNELS_CPU_MOE_H_

#include <cstdint>
#include <vector>

#include "kernels/cpu/context.h"
#include "kernels/packed_matrix.h"
#include "kernels/views.h"

namespace mla::kernels {

struct RouterArgs {
  int top_k = 1;
  bool normalize = false;  // the chosen weights to sum 1
  float scale = 1.0f;      // of the weights, after that
};

// Softmax over the experts, then the top_k largest, ties to the lower index.
// logits: [rows, experts]; ids and weights: [rows * top_k], largest first.
void RouteSoftmax(const RouterArgs& args, Rows logits, int32_t* ids,
                  float* weights);

// y = sum over the row's chosen experts of weight * down(silu(gate) * up).
// gate_up: [2 * intermediate, hidden] and down: [hidden, intermediate] of each
// expert.
void RunExperts(CpuContext& cpu, Rows x,
                const std::vector<const PackedMatrix*>& gate_up,
                const std::vector<const PackedMatrix*>& down, int top_k,
                const int32_t* ids, const float* weights, Rows y);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_MOE_H_

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
#include "kernels/router_args.h"
#include "kernels/views.h"

namespace mla::kernels {

// The top_k experts with the largest corrected score, ties to the lower index,
// and their scores without the correction.
// logits: [rows, experts]; ids and weights: [rows * top_k], best first.
void Route(const RouterArgs& args, Rows logits, int32_t* ids, float* weights);

// y = sum over the row's chosen experts of weight * down(silu(gate) * up).
// gate_up: [2 * intermediate, hidden] and down: [hidden, intermediate] of each
// expert. Ids past them are experts that return x itself (LongCat-Flash's zero
// experts, 2509.01322), or of which y has nothing, if not to `add_identities`.
void RunExperts(CpuContext& cpu, Rows x,
                const std::vector<const PackedMatrix*>& gate_up,
                const std::vector<const PackedMatrix*>& down, int top_k,
                const int32_t* ids, const float* weights, bool add_identities,
                Rows y);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_MOE_H_

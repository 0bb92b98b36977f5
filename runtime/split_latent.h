// Splits the latent of an MLA model into slices with a softmax each, which
// ranks can then have one each of: tensor-parallel latent attention (TPLA,
// 2508.15881). Without it every rank caches the whole latent.
// Threads: any.
//
// It is an approximation. An orthogonal matrix U orders the latent c by energy
// first (attention/latent_mix.h), of which the first slice then has most:
//
//   c_j = f_j RMSNorm(slice j of U c)
//   p_j = softmax(scale (q_j.c_j + q_pe.k_pe))
//   out = sum over j of p_j c_j W_UV,j
//
// The norm's weights and U are folded into the up-projections. It is MLA where
// all p_j are equal and each slice's root mean square is f_j times the
// latent's; f_j^2 is its usual part of the energy times the number of slices.
#ifndef MLA_RUNTIME_SPLIT_LATENT_H_
#define MLA_RUNTIME_SPLIT_LATENT_H_

#include "absl/status/status.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// 1: leaves it as it is. UNIMPLEMENTED for layers whose rows are not one latent
// for all heads, INVALID_ARGUMENT where kv_lora_rank does not divide; `config`
// is then unchanged.
absl::Status SplitLatent(int slices, ModelConfig& config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SPLIT_LATENT_H_

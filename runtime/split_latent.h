// Splits the latent of an MLA model into slices with a softmax each, which
// ranks can then have one each of: tensor-parallel latent attention (TPLA,
// 2508.15881). Without it every rank caches the whole latent.
// Threads: any.
//
// It is an approximation. The latent c is mixed by an orthogonal matrix U first
// (LatentMix), by which q.c = (Uq).(Uc) = the sum of the slices' products, and
// each slice's product is likely about a slices-th of it. So of `slices`
//   c_j = RMSNorm(slice j of U c)                      the norm's weights and
//   p_j = softmax(scale (slices * q_j.c_j + q_pe.k_pe)),   U are folded into
//   out = sum over j of p_j c_j W_UV,j                     the up-projections
// which is MLA if all p_j are equal and all slices of c as long. What the norm
// divides by, a slice's own mean square, is the other approximation.
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

// LatentMix: in which order a latent's elements are split (split_latent.h).
// Threads: the loader's.
#ifndef MLA_RUNTIME_ATTENTION_LATENT_MIX_H_
#define MLA_RUNTIME_ATTENTION_LATENT_MIX_H_

#include <vector>

#include "runtime/attention/layer_weights.h"

namespace mla::runtime {

struct LatentMix {
  OutputBlock u;  // orthogonal, [rank, rank]
  // How large elements are, of which the latent's have 1 on average: the square
  // root of each one's part of the energy.
  std::vector<float> size;
};

// By energy, most first: the principal components of what `down` [rank, hidden]
// makes of inputs of equal energy everywhere.
LatentMix MixByEnergy(const OutputBlock& down);
// As they are.
LatentMix NoMix(int rank);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_LATENT_MIX_H_

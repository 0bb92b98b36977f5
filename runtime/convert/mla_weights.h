// MlaWeights: what conversion makes of a layer's attention: DeepSeek's MLA
// (2405.04434) without norms of the latent, each layer with its own rank and
// its own RoPE frequencies.
// Threads: a plain value; any.
#ifndef MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_
#define MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_

#include <map>
#include <string>
#include <vector>

#include "runtime/convert/latent.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {

struct MlaShape {
  int heads = 0;
  int kv_lora_rank = 0;
  int qk_nope_head_dim = 0;
  int qk_rope_head_dim = 0;
  int v_head_dim = 0;
  std::vector<double> inv_freq;  // [qk_rope_head_dim / 2]
};

struct MlaWeights {
  MlaShape shape;
  DoubleMatrix q;     // per head [nope | rope]
  DoubleMatrix kv_a;  // [latent | rope key]
  DoubleMatrix kv_b;  // per head [W_UK | W_UV]
  DoubleMatrix o;
  DoubleVector q_bias, kv_a_bias, o_bias;  // zeros: none
};

MlaWeights PackMla(const GqaWeights& w, const RopeSplit& split,
                   const Latent& latent);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_

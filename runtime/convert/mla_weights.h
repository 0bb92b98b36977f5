// MlaWeights: what conversion makes of a layer's attention: DeepSeek's MLA
// (2405.04434) without norms of the latent, each layer with its own rank and
// its own RoPE frequencies.
// Threads: a plain value; any.
#ifndef MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_
#define MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_

#include <vector>

#include "absl/status/status.h"
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
  int q_lora_rank = 0;           // 0: queries are projected at once
  // The stock layout's (stock_layout.h): behind kv_lora_rank there is a lane
  // that is not counted in it, and rotated rows are pairs (2i, 2i + 1).
  bool constant_lane = false;
};

struct MlaWeights {
  MlaShape shape;
  DoubleMatrix q_a;   // [q_lora_rank, hidden]; empty: none
  DoubleMatrix q;     // per head [nope | rope], of the input or of q_a's output
  DoubleMatrix kv_a;  // [latent | rope key]
  DoubleMatrix kv_b;  // per head [W_UK | W_UV]
  DoubleMatrix o;
  DoubleVector q_bias, kv_a_bias, o_bias;  // zeros: none
  // Of the stock layout only.
  DoubleVector q_a_bias, q_norm, kv_norm;
};

MlaWeights PackMla(const GqaWeights& w, const RopeSplit& split,
                   const Latent& latent);

// Queries through the latent of `rank` that keeps most of their energy.
// INVALID_ARGUMENT if there are not so many.
absl::Status FactorQueries(const GqaWeights& w, const RopeSplit& split,
                           const Moments& y, int rank, MlaWeights& mla);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_MLA_WEIGHTS_H_

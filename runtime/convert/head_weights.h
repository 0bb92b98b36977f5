// HeadWeights: attention that still has keys and values of heads, but of fewer
// heads (QCQA, EffKV), or of all heads from low ranks (LoRC). RoPE turns whole
// heads, as in the source.
// Threads: a plain value; any.
#ifndef MLA_RUNTIME_CONVERT_HEAD_WEIGHTS_H_
#define MLA_RUNTIME_CONVERT_HEAD_WEIGHTS_H_

#include <vector>

#include "runtime/convert/linear_algebra.h"

namespace mla::runtime {

struct HeadShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  std::vector<int> kv_head_of;  // a query head's, ascending; empty: evenly
  int k_rank = 0;               // of all heads' keys together; 0: no latent
  int v_rank = 0;
};

struct HeadWeights {
  HeadShape shape;
  DoubleMatrix q;           // [heads * head_dim, hidden]
  DoubleMatrix k, v;        // [kv_heads * head_dim, hidden], or [rank, hidden]
  DoubleMatrix k_up, v_up;  // [kv_heads * head_dim, rank]; empty: no latent
  DoubleMatrix o;           // [hidden, heads * head_dim]
  DoubleVector q_bias, k_bias, v_bias, o_bias;  // zeros: none
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_HEAD_WEIGHTS_H_

// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/mla_weights.h"

#include <cmath>

namespace mla::runtime {

MlaWeights PackMla(const GqaWeights& w, const RopeSplit& split,
                   const Latent& latent) {
  const int d = w.head_dim;
  const int rope = static_cast<int>(split.k_rope.rows());
  const int rank = static_cast<int>(latent.down.rows());
  MlaWeights mla;
  mla.shape = {w.heads, rank, d, rope, d, split.inv_freq};
  mla.q.resize(w.heads * (d + rope), w.hidden());
  mla.q_bias.resize(mla.q.rows());
  mla.kv_b.resize(w.heads * 2 * d, rank);
  // MLA divides scores by the root of both dims, the model by head_dim's.
  const double scale = std::sqrt((d + rope) / static_cast<double>(d));
  mla.o_bias = w.o_bias;
  for (int head = 0; head < w.heads; ++head) {
    const DoubleVector bias = w.q_bias.segment(head * d, d);
    const int at = head * (d + rope);
    mla.q.middleRows(at, d) = scale * w.q_head(head);
    mla.q_bias.segment(at, d) = scale * bias;
    mla.q.middleRows(at + d, rope) =
        scale * (split.q_rope[head] * w.q_head(head));
    mla.q_bias.segment(at + d, rope) = scale * (split.q_rope[head] * bias);
    const int kv_head = w.kv_head_of(head);
    mla.kv_b.middleRows(2 * head * d, d) =
        split.q_nope[head].transpose() * latent.key_up;
    mla.kv_b.middleRows((2 * head + 1) * d, d) =
        latent.value_up.middleRows(kv_head * d, d);
    // Weights of a softmax sum to one: values' biases come out as they are.
    mla.o_bias += w.o_head(head) * w.v_bias.segment(kv_head * d, d);
  }
  mla.kv_a.resize(rank + rope, w.hidden());
  mla.kv_a << latent.down, split.k_rope;
  mla.kv_a_bias = DoubleVector::Zero(rank + rope);
  mla.kv_a_bias.tail(rope) = split.k_rope_bias;
  mla.o = w.o;
  return mla;
}

}  // namespace mla::runtime

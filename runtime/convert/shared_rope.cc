// Tested by tests/runtime/one_shot_methods_test.cc.
#include "runtime/convert/shared_rope.h"

#include "absl/strings/str_cat.h"

namespace mla::runtime {

absl::StatusOr<RopeSplit> SplitShared(const GqaWeights& w,
                                      absl::Span<const float> inv_freq,
                                      int rope_dim) {
  const int d = w.head_dim;
  if (rope_dim < 2 || rope_dim % 2 != 0 || rope_dim >= d || d % rope_dim != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("qk_rope_head_dim ", rope_dim,
                     ": must be even and a proper divisor of head_dim ", d));
  }
  const int still = d - rope_dim;
  const int pairs = rope_dim / 2;
  RopeSplit split;
  split.k_rope = DoubleMatrix::Zero(rope_dim, w.hidden());
  split.k_rope_bias = DoubleVector::Zero(rope_dim);
  DoubleMatrix rope = DoubleMatrix::Zero(rope_dim, d);
  for (int i = 0; i < rope_dim; ++i) {
    const int to = i / 2 + i % 2 * pairs;
    rope(to, still + i) = 1;
    for (int kv_head = 0; kv_head < w.kv_heads; ++kv_head) {
      const int from = kv_head * d + still + i;
      split.k_rope.row(to) += w.k.row(from) / w.kv_heads;
      split.k_rope_bias[to] += w.k_bias[from] / w.kv_heads;
    }
  }
  for (int i = 0; i < pairs; ++i) {
    split.inv_freq.push_back(inv_freq[i * (d / rope_dim)]);
  }
  split.k_nope = w.k;
  split.q_rope.assign(w.heads, rope);
  split.q_nope.assign(w.heads, DoubleMatrix::Zero(w.kv_heads * d, d));
  for (int head = 0; head < w.heads; ++head) {
    split.q_nope[head]
        .block(w.kv_head_of(head) * d, 0, still, still)
        .setIdentity();
  }
  return split;
}

}  // namespace mla::runtime

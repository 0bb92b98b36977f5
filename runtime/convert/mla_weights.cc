// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/mla_weights.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// Rows [nope | rope] per head, of rows that make plain queries.
DoubleMatrix PackQueries(const GqaWeights& w, const RopeSplit& split,
                         const DoubleMatrix& q) {
  const int d = w.head_dim;
  const int rope = static_cast<int>(split.k_rope.rows());
  // MLA divides scores by the root of both dims, the model by head_dim's.
  const double scale = std::sqrt((d + rope) / static_cast<double>(d));
  DoubleMatrix packed(w.heads * (d + rope), q.cols());
  for (int head = 0; head < w.heads; ++head) {
    const auto from = q.middleRows(head * d, d);
    packed.middleRows(head * (d + rope), d) = scale * from;
    packed.middleRows(head * (d + rope) + d, rope) =
        scale * (split.q_rope[head] * from);
  }
  return packed;
}

}  // namespace

MlaWeights PackMla(const GqaWeights& w, const RopeSplit& split,
                   const Latent& latent) {
  const int d = w.head_dim;
  const int rope = static_cast<int>(split.k_rope.rows());
  const int rank = static_cast<int>(latent.down.rows());
  MlaWeights mla;
  mla.shape = {w.heads, rank, d, rope, d, split.inv_freq};
  mla.q = PackQueries(w, split, w.q);
  mla.q_bias = PackQueries(w, split, w.q_bias);
  mla.kv_b.resize(w.heads * 2 * d, rank);
  mla.o_bias = w.o_bias;
  for (int head = 0; head < w.heads; ++head) {
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

absl::Status FactorQueries(const GqaWeights& w, const RopeSplit& split,
                           const Moments& y, int rank, MlaWeights& mla) {
  if (rank < 1 || rank > std::min(w.q.rows(), w.q.cols())) {
    return absl::InvalidArgumentError(
        absl::StrCat("q_lora_rank ", rank, ": must be from 1 to ",
                     std::min(w.q.rows(), w.q.cols())));
  }
  ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                   EigenOf(DoubleMatrix(w.q * y.second * w.q.transpose())));
  const DoubleMatrix top = e.vectors.leftCols(rank);
  mla.q_a = top.transpose() * w.q;
  mla.q = PackQueries(w, split, top);
  mla.shape.q_lora_rank = rank;
  return absl::OkStatus();
}

}  // namespace mla::runtime

// AttentionLayer: one layer's attention in a backend, as a few steps that the
// model takes for every system alike:
//   [q | row | more] = in x; q is normed, expanded, rotated; the row is normed,
//   rotated, stored; the queries attend; the result is projected.
// Threads: immutable once loaded; any.
#ifndef MLA_RUNTIME_ATTENTION_ATTENTION_LAYER_H_
#define MLA_RUNTIME_ATTENTION_ATTENTION_LAYER_H_

#include <memory>
#include <vector>

#include "runtime/backend.h"
#include "runtime/row_steps.h"

namespace mla::runtime {

// MTLA's gate: sigmoid(chunk(position of the row) . token(latent)).
struct TimeGate {
  LinearWeights token;  // [gate, latent]
  LinearWeights chunk;  // [gate, latent], of a position's sinusoids
  int latent = 0;
  int width = 0;  // of the gate's two vectors
};

// KHA's: v becomes 2 (v U * sigmoid(v G)) D, on every value.
struct ValueMlp {
  Pieces values;
  LinearWeights gate_up;  // [G | U]
  LinearWeights down;
  int width = 0;
};

struct AttentionLayer {
  LinearWeights in;  // [q | row | more], or [q_a | ...]
  int q_width = 0;
  int row_width = 0;   // 0: it reads another layer's rows
  int more_width = 0;  // the indexer's weights, or gates
  std::vector<NormStep> q_a_norms;
  LinearWeights q_b;  // from the query latent; may be empty
  int q_b_width = 0;  // queries, and the indexer's behind them

  int query_width = 0;  // of all heads
  std::vector<NormStep> q_norms;
  std::vector<RotateStep> q_rotations;
  std::vector<NormStep> row_norms;
  std::vector<RotateStep> row_rotations;
  int rope = 0;  // which of the model's
  float position_beta = 0;
  int position_period = 1;

  int index_n_heads = 0;  // DeepSeek-V3.2's indexer
  int index_head_dim = 0;
  int index_topk = 0;
  int gates = 0;  // MoAS: softmax over `more`, one for each part of the heads
  std::unique_ptr<TimeGate> time_gate;
  std::unique_ptr<ValueMlp> value_mlp;

  int cache_layer = 0;
  AttentionWeights attention;
  int attended_width = 0;
  LinearWeights out;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_ATTENTION_LAYER_H_

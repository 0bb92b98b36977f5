// RopeSplit parts a GQA layer's keys into components that keep turning with the
// position and components that no longer do, which a latent can absorb.
//
// Adjacent frequencies form groups. Within a group, the complex numbers that
// RoPE turns (pair i of every KV head) are mixed by an orthogonal matrix, so
// that few components carry most of the score: RoRoPE and FreqFold of TransMLA
// (2502.07864, section 4). A group of one frequency is mixed exactly; among
// several, a component turns with one frequency for all.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_ROPE_SPLIT_H_
#define MLA_RUNTIME_CONVERT_ROPE_SPLIT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/convert/gqa_weights.h"
#include "runtime/convert/linear_algebra.h"
#include "runtime/convert/rope_choices.h"

namespace mla::runtime {

// What a layer's attention reads, over the calibration tokens.
struct Moments {
  DoubleMatrix second;  // E[y y'], [hidden, hidden]
  DoubleVector mean;    // E[y]
};

// E[z z'] of z = w y + bias.
DoubleMatrix MomentOf(const DoubleMatrix& w, const DoubleVector& bias,
                      const Moments& y);

struct RopeSplit {
  std::vector<double> inv_freq;      // [R/2], of the turning components
  DoubleMatrix k_rope;               // [R, hidden], pairs (i, i + R/2)
  DoubleVector k_rope_bias;          // [R]
  DoubleMatrix k_nope;               // [kv width - R, hidden]
  std::vector<DoubleMatrix> q_rope;  // a query head's part that meets k_rope...
  std::vector<DoubleMatrix> q_nope;  // ...and k_nope, as maps of its head_dim
};

// TransMLA's: groups of `fold` frequencies, each of which keeps the first
// fold * R / head_dim components turning. Their frequencies are the ladder
// base^(-2k/R) that a stock DeepSeek config can express.
absl::StatusOr<RopeSplit> SplitByLadder(const GqaWeights& w, const Moments& y,
                                        absl::Span<const float> inv_freq,
                                        int rope_dim, int fold, Mixing mixing);

// The R/2 components whose scores would lose most without RoPE keep turning,
// wherever they are, each with the frequency that keeps most. `groups`: sizes,
// from the highest frequency on. Distances from 1 to `farthest` tokens count,
// each octave of them alike.
absl::StatusOr<RopeSplit> SplitBySelection(
    const GqaWeights& w, const Moments& y, absl::Span<const float> inv_freq,
    int rope_dim, absl::Span<const int> groups, int farthest);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_ROPE_SPLIT_H_

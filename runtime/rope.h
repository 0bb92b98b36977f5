// Rope: the angles of rotary position embeddings, resolved from a model's
// scaling rule to plain frequencies.
// Threads: immutable; any.
// Sources: RoPE 2104.09864; YaRN 2309.00071; LongRoPE 2402.13753; the llama3
//          rule as published with Llama 3.1; formulas as in transformers'
//          modeling_rope_utils.py, computed in float as there.
#ifndef MLA_RUNTIME_ROPE_H_
#define MLA_RUNTIME_ROPE_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace mla::runtime {

struct Rope {
  int dim = 0;   // rotated elements per head
  int sets = 1;  // MHA2MLA: of frequencies, each for as many heads in order
  std::vector<float> inv_freq;  // [sets * dim / 2]
  // LongRoPE: sequences whose prompt is longer than `long_above` tokens turn
  // with these instead. The prompt decides, once, so that a key never has to
  // be turned again and a resumed sequence gets the same angles.
  std::vector<float> long_inv_freq;
  int long_above = std::numeric_limits<int>::max();
  float amplitude = 1.0f;  // of cosines and sines

  // Factor of the attention's softmax scale (YaRN's mscale_all_dim, squared).
  float score_factor = 1.0f;

  // cos and sin [sets * dim / 2] at a position.
  void Angles(int position, bool long_prompt, float* cos, float* sin) const;
};

// INVALID_ARGUMENT unless DefaultRope may be asked for this.
absl::Status CheckRope(int64_t dim, double theta);

// Plain RoPE. `divisors` (may be empty) divide the frequencies.
Rope DefaultRope(int dim, double theta, absl::Span<const float> divisors = {});

// From a config.json's rope_scaling or rope_parameters object (null: default).
absl::StatusOr<Rope> RopeFromConfig(int dim, double theta, int max_position,
                                    const nlohmann::json& scaling);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ROPE_H_

// What sampling is told about a row of logits, and what it tells: how the next
// token is drawn. C++17-clean, trivially copyable, no padding.
//
// In this order:
//   1. a NaN is -inf. The log-probabilities that are reported are of these
//      logits, before all that follows.
//   2. bias is added; then, of a token that was seen, x / repetition_penalty
//      where x > 0, else x * repetition_penalty (CTRL, 1909.05858); and of one
//      that was generated n > 0 times, less presence + n * frequency penalty.
//      A NaN that comes of it is -inf.
//   3. the likeliest token, the lowest id of equals. If its logit is not
//      finite, none is drawn. At temperature 0 it is drawn.
//   4. p = e^((x - max) / temperature), 0 where that is below e^-30 or min_p.
//   5. only the top_k likeliest, by the lowest id of equals; of those only the
//      fewest likeliest, in the same order, that have top_p of their sum.
//   6. the first token, by id, at which the sum of p from the lowest id on
//      exceeds the number in [0, 1) times all of it.
#ifndef MLA_KERNELS_SAMPLE_ARGS_H_
#define MLA_KERNELS_SAMPLE_ARGS_H_

#include <cstdint>

namespace mla::kernels {

// The most alternatives whose log-probabilities are reported.
inline constexpr int kMaxTopLogprobs = 20;

// Of one token of one row.
struct LogitChange {
  static constexpr int32_t kUnseen = -1;

  int32_t id = 0;
  float bias = 0.0f;  // -inf: not to be drawn
  // How often it was generated; 0 if it is in the prompt only.
  int32_t count = kUnseen;
  float logit = 0.0f;  // scratch: what it was
};

// Of one row.
struct Draw {
  uint64_t random = 0;  // its upper 53 bits are the number in [0, 1)
  float temperature = 1.0f;
  int32_t top_k = 0;  // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;  // of the likeliest token's p
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int32_t first_change = 0;  // among all rows' changes; ids occur once
  int32_t num_changes = 0;
  // The step before drew, as its newest-th token, one that the changes do not
  // count yet; -1: they count all.
  int32_t newest = -1;
  int32_t logprobs = -1;  // alternatives to report; -1: and not the token's
  int32_t reserved = 0;
};

struct Drawn {
  int32_t id = -1;  // -1: no logit is finite
  float logprob = 0.0f;
  int32_t num_top = 0;  // likeliest first, by the lowest id of equals
  int32_t top_ids[kMaxTopLogprobs] = {};
  float top_logprobs[kMaxTopLogprobs] = {};
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_SAMPLE_ARGS_H_

// Sampler draws one choice's next tokens from logits.
// Threads: one.
// The n-th draw depends on the seed, the choice's index and n only, so the
// same seed gives the same tokens in any batch and after a preemption.
// Errors:  INTERNAL when no logit is finite.
#ifndef MLA_RUNTIME_SAMPLER_H_
#define MLA_RUNTIME_SAMPLER_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/request.h"
#include "runtime/token_sink.h"

namespace mla::runtime {

class Sampler {
 public:
  // `masked` ids are not drawn before `min_tokens` tokens.
  Sampler(const SamplingParams& params, uint64_t seed, int index,
          absl::Span<const int32_t> prompt, int min_tokens,
          std::vector<int32_t> masked);

  struct Token {
    int32_t id = 0;
    TokenLogprobs logprobs;  // filled when params.logprobs is set
  };
  // `logits` are scratch afterwards.
  absl::StatusOr<Token> Draw(absl::Span<float> logits);

 private:
  void Penalize(absl::Span<float> logits) const;
  int32_t DrawFromDistribution(absl::Span<const float> logits, float top) const;

  const SamplingParams params_;
  const uint64_t stream_;  // of random numbers
  const int min_tokens_;
  const std::vector<int32_t> masked_;
  int drawn_ = 0;
  // How often a token was generated; 0 for one that is in the prompt only.
  absl::flat_hash_map<int32_t, int> counts_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SAMPLER_H_

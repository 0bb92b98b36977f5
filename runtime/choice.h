// Choice: one of a request's n answers, from logits to text.
// Owns:    its tokens, sampler, detokenizer and stop strings.
// Threads: engine thread only.
#ifndef MLA_RUNTIME_CHOICE_H_
#define MLA_RUNTIME_CHOICE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "runtime/request.h"
#include "runtime/sampler.h"
#include "runtime/sequence.h"
#include "runtime/stop_matcher.h"
#include "runtime/token_sink.h"
#include "runtime/tokenizer/detokenizer.h"

namespace mla::runtime {

class Choice {
 public:
  // `eos_ids`: the model's own ends of sequence. `tokenizer` may be null:
  // then there is no text. The request outlives the choice.
  Choice(const Request& request, int index, uint64_t seed,
         absl::Span<const int32_t> eos_ids, const Tokenizer* tokenizer);

  // How its next token is drawn, in a step that starts now.
  kernels::Draw Ask(std::vector<kernels::LogitChange>& changes);
  // The oldest token that is awaited. The delta's `finish` is set when it was
  // the last. INTERNAL when no logit was finite.
  absl::StatusOr<TokenDelta> Take(const kernels::Drawn& drawn);

  bool finished() const { return finished_; }
  int generated() const { return generated_; }  // tokens that are known

  Sequence sequence;
  absl::Time last_token = absl::InfinitePast();

 private:
  std::optional<Finish> FinishFor(int32_t id) const;

  const Request& request_;
  const int index_;
  const std::vector<int32_t> eos_ids_;
  Sampler sampler_;
  std::optional<Detokenizer> detokenizer_;
  StopMatcher stop_matcher_;
  int generated_ = 0;
  bool finished_ = false;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHOICE_H_

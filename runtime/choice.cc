// Tested by tests/runtime/engine_test.cc.
#include "runtime/choice.h"

#include <algorithm>
#include <utility>

namespace mla::runtime {
namespace {

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::vector<int32_t> Enders(const StopConditions& stop,
                            absl::Span<const int32_t> eos_ids) {
  std::vector<int32_t> ids = stop.stop_token_ids;
  if (!stop.ignore_eos) ids.insert(ids.end(), eos_ids.begin(), eos_ids.end());
  return ids;
}

}  // namespace

Choice::Choice(const Request& request, int index, uint64_t seed,
               absl::Span<const int32_t> eos_ids, const Tokenizer* tokenizer)
    : request_(request),
      index_(index),
      eos_ids_(eos_ids.begin(), eos_ids.end()),
      sampler_(request.sampling, seed, index, request.prompt,
               request.stop.min_tokens, Enders(request.stop, eos_ids)),
      stop_matcher_(request.stop.stop) {
  if (tokenizer != nullptr) {
    detokenizer_.emplace(tokenizer, request.skip_special_tokens);
  }
  sequence.tokens = request.prompt;
  sequence.prompt_tokens = static_cast<int>(request.prompt.size());
}

std::optional<Finish> Choice::FinishFor(int32_t id) const {
  if (Contains(request_.stop.stop_token_ids, id) ||
      (!request_.stop.ignore_eos && Contains(eos_ids_, id))) {
    return Finish{FinishReason::kStop, id, std::nullopt};
  }
  if (stop_matcher_.matched()) {
    return Finish{FinishReason::kStop, std::nullopt, stop_matcher_.matched()};
  }
  if (generated() >= request_.stop.max_tokens) {
    return Finish{FinishReason::kLength, std::nullopt, std::nullopt};
  }
  return std::nullopt;
}

absl::StatusOr<TokenDelta> Choice::Next(absl::Span<float> logits) {
  absl::StatusOr<Sampler::Token> token = sampler_.Draw(logits);
  if (!token.ok()) return token.status();
  sequence.tokens.push_back(token->id);

  TokenDelta delta;
  delta.index = index_;
  delta.token_ids = {token->id};
  if (request_.sampling.logprobs) {
    delta.logprobs.push_back(std::move(token->logprobs));
  }
  delta.finish = FinishFor(token->id);
  if (detokenizer_) {
    // The token that ends the sequence is no part of the text.
    if (!delta.finish || delta.finish->reason == FinishReason::kLength) {
      delta.text = stop_matcher_.Append(detokenizer_->Append(token->id));
      delta.finish = FinishFor(token->id);
    }
    if (delta.finish) {
      delta.text += stop_matcher_.Append(detokenizer_->Finish());
      delta.text += stop_matcher_.Finish();
      delta.finish = FinishFor(token->id);
    }
  }
  finished_ = delta.finish.has_value();
  return delta;
}

}  // namespace mla::runtime

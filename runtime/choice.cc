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

TokenLogprobs Logprobs(const kernels::Drawn& drawn) {
  TokenLogprobs logprobs;
  logprobs.logprob = drawn.logprob;
  for (int i = 0; i < drawn.num_top; ++i) {
    logprobs.top.emplace_back(drawn.top_ids[i], drawn.top_logprobs[i]);
  }
  return logprobs;
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
  sequence.most_rows = sequence.prompt_tokens + request.stop.max_tokens - 1;
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

kernels::Draw Choice::Ask(std::vector<kernels::LogitChange>& changes) {
  return sampler_.Next(changes);
}

absl::StatusOr<TokenDelta> Choice::Take(const kernels::Drawn& drawn) {
  const int32_t id = drawn.id;
  if (id < 0) return absl::InternalError("the model's logits are not finite");
  sequence.tokens[sequence.prompt_tokens + generated_++] = id;
  sampler_.Note(id);

  TokenDelta delta;
  delta.index = index_;
  delta.token_ids = {id};
  if (request_.sampling.logprobs) delta.logprobs.push_back(Logprobs(drawn));
  delta.finish = FinishFor(id);
  if (detokenizer_) {
    // The token that ends the sequence is no part of the text.
    if (!delta.finish || delta.finish->reason == FinishReason::kLength) {
      delta.text = stop_matcher_.Append(detokenizer_->Append(id));
      delta.finish = FinishFor(id);
    }
    if (delta.finish) {
      delta.text += stop_matcher_.Append(detokenizer_->Finish());
      delta.text += stop_matcher_.Finish();
      delta.finish = FinishFor(id);
    }
  }
  finished_ = delta.finish.has_value();
  return delta;
}

}  // namespace mla::runtime

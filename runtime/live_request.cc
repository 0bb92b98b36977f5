// Tested by tests/runtime/engine_test.cc.
#include "runtime/live_request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mla::runtime {

Summary Summarize(const Live& live) {
  const absl::Time now = absl::Now();
  Summary summary;
  summary.usage.prompt_tokens = static_cast<int>(live.request.prompt.size());
  for (const std::unique_ptr<Choice>& choice : live.choices) {
    summary.usage.generated_tokens += choice->generated();
  }
  if (!live.choices.empty()) {
    summary.usage.cached_tokens = live.choices[0]->sequence.cached_tokens;
  }
  summary.timings.queue = std::min(live.started, now) - live.accepted;
  summary.timings.ttft = std::min(live.first_token, now) - live.accepted;
  summary.timings.total = now - live.accepted;
  summary.timings.preemptions = live.preemptions;
  return summary;
}

absl::Status CheckRequest(const Request& r, int vocab_size,
                          int max_request_tokens) {
  const auto is_token = [&](int32_t id) { return id >= 0 && id < vocab_size; };
  if (r.prompt.empty()) return absl::InvalidArgumentError("empty prompt");
  for (int32_t id : r.prompt) {
    if (!is_token(id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token id ", id, " is not in the vocabulary of ", vocab_size));
    }
  }
  for (const auto& [id, bias] : r.sampling.logit_bias) {
    if (!is_token(id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "logit_bias: token id ", id, " is not in the vocabulary"));
    }
  }
  for (int32_t id : r.stop.stop_token_ids) {
    if (!is_token(id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "stop_token_ids: token id ", id, " is not in the vocabulary"));
    }
  }
  if (r.sampling.n < 1 || r.stop.max_tokens < 1) {
    return absl::InvalidArgumentError("n and max_tokens must be positive");
  }
  const int64_t tokens =
      static_cast<int64_t>(r.prompt.size()) + r.stop.max_tokens;
  if (tokens > max_request_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt of ", r.prompt.size(), " tokens and max_tokens ",
                     r.stop.max_tokens, " exceed the ", max_request_tokens,
                     " tokens that a request can have"));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

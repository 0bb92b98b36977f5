// Tested by tests/server/pending_chunks_test.cc.
#include "server/response_conversion.h"

#include "absl/time/time.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

void Fill(const runtime::Finish& finish, v1::Finish& out) {
  out.set_reason(finish.reason == runtime::FinishReason::kStop
                     ? v1::FINISH_REASON_STOP
                     : v1::FINISH_REASON_LENGTH);
  if (finish.stop_token_id) {
    out.set_stop_token_id(static_cast<uint32_t>(*finish.stop_token_id));
  }
  if (finish.stop_string) out.set_stop_string(*finish.stop_string);
}

void Fill(const runtime::TokenLogprobs& logprobs, v1::TokenLogprobs& out) {
  out.set_logprob(logprobs.logprob);
  for (const auto& [token_id, logprob] : logprobs.top) {
    auto* alternative = out.add_top();
    alternative->set_token_id(static_cast<uint32_t>(token_id));
    alternative->set_logprob(logprob);
  }
}

}  // namespace

template <typename Out>
void AppendDelta(const runtime::TokenDelta& delta, Out& out) {
  out.set_index(static_cast<uint32_t>(delta.index));
  out.mutable_text()->append(delta.text);
  for (const int32_t id : delta.token_ids) {
    out.add_token_ids(static_cast<uint32_t>(id));
  }
  for (const auto& logprobs : delta.logprobs) {
    Fill(logprobs, *out.add_logprobs());
  }
  if (delta.finish) Fill(*delta.finish, *out.mutable_finish());
}

template void AppendDelta(const runtime::TokenDelta&, v1::Chunk&);
template void AppendDelta(const runtime::TokenDelta&, v1::Choice&);

v1::Summary ToProto(const runtime::Summary& summary) {
  v1::Summary out;
  auto* usage = out.mutable_usage();
  usage->set_prompt_tokens(summary.usage.prompt_tokens);
  usage->set_cached_tokens(summary.usage.cached_tokens);
  usage->set_generated_tokens(summary.usage.generated_tokens);
  auto* timings = out.mutable_timings();
  timings->set_queue_seconds(absl::ToDoubleSeconds(summary.timings.queue));
  timings->set_time_to_first_token_seconds(
      absl::ToDoubleSeconds(summary.timings.ttft));
  timings->set_total_seconds(absl::ToDoubleSeconds(summary.timings.total));
  timings->set_preemptions(summary.timings.preemptions);
  return out;
}

size_t WireBytes(const runtime::TokenDelta& delta) {
  constexpr size_t kFixed = 64;       // index, finish, tags and lengths
  constexpr size_t kPerToken = 5;     // a varint
  constexpr size_t kPerLogprob = 16;  // an alternative with its tags
  size_t bytes =
      kFixed + delta.text.size() + kPerToken * delta.token_ids.size();
  for (const auto& logprobs : delta.logprobs) {
    bytes += kPerLogprob * (1 + logprobs.top.size());
  }
  if (delta.finish && delta.finish->stop_string) {
    bytes += delta.finish->stop_string->size();
  }
  return bytes;
}

const char* Name(runtime::FinishReason reason) {
  return reason == runtime::FinishReason::kStop ? "stop" : "length";
}

}  // namespace mla::server

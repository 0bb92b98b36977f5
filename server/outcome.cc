// Tested by tests/server/generation_service_test.cc.
#include "server/outcome.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runtime/engine.h"
#include "server/error_details.h"
#include "server/limits.h"
#include "server/log.h"

namespace mla::server {

absl::Status FinalStatus(absl::Status engine_status, Interruption why) {
  if (engine_status.ok()) return engine_status;
  switch (why) {
    case Interruption::kNone:
      return engine_status;
    case Interruption::kClientGone:
      return absl::CancelledError("the client ended the call");
    case Interruption::kDeadline:
      return absl::DeadlineExceededError("the call's deadline passed");
    case Interruption::kSlowClient:
      return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                            "the client reads too slowly: more than ",
                            kMaxPendingBytes, " bytes wait for it")),
                        kSlowClient);
    case Interruption::kOutOfMemory:
      return absl::ResourceExhaustedError("out of memory for this request");
  }
  return engine_status;
}

absl::Status ExplainRefusal(absl::Status status) {
  constexpr absl::Duration kRetryDelay = absl::Seconds(1);
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted: {
      const auto bound = status.GetPayload(runtime::kQueueBoundPayload);
      status.ErasePayload(runtime::kQueueBoundPayload);
      const bool tokens = bound && *bound == "tokens";
      return WithRetryDelay(WithReason(std::move(status),
                                       tokens ? kQueuedTokensFull : kQueueFull),
                            kRetryDelay);
    }
    case absl::StatusCode::kUnavailable:
      return WithReason(std::move(status), kDraining);
    case absl::StatusCode::kAlreadyExists:
      return WithReason(std::move(status), kRequestIdInUse);
    default:
      return status;
  }
}

void ReportEnd(const std::string& request_id, const absl::Status& status,
               const std::string& finish_reason,
               const runtime::Summary& summary, ServerMetrics& metrics) {
  metrics.RequestEnded(status, finish_reason);
  Log().info(
      "request done id={} code={} finish={} prompt={} cached={} generated={} "
      "queue={:.4f}s ttft={:.4f}s total={:.4f}s preemptions={}{}{}",
      request_id, absl::StatusCodeToString(status.code()), finish_reason,
      summary.usage.prompt_tokens, summary.usage.cached_tokens,
      summary.usage.generated_tokens,
      absl::ToDoubleSeconds(summary.timings.queue),
      absl::ToDoubleSeconds(summary.timings.ttft),
      absl::ToDoubleSeconds(summary.timings.total), summary.timings.preemptions,
      status.ok() ? "" : " message=", std::string(status.message()));
}

void ReportRefusal(const std::string& request_id, const absl::Status& status,
                   ServerMetrics& metrics) {
  metrics.RequestEnded(status, "none");
  if (!absl::IsCancelled(status)) metrics.RequestRefused(status);
  // The counters tell an operator; a client must not be able to fill a disk.
  Log().debug("request refused id={} code={} message={}", request_id,
              absl::StatusCodeToString(status.code()),
              std::string(status.message()));
}

}  // namespace mla::server

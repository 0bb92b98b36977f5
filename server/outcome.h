// How a generation request ended: the status its client gets, one log line,
// and the counters. Streaming and unary calls both end here.
// Threads: any.
#ifndef MLA_SERVER_OUTCOME_H_
#define MLA_SERVER_OUTCOME_H_

#include <string>

#include "absl/status/status.h"
#include "runtime/token_sink.h"
#include "server/server_metrics.h"

namespace mla::server {

// Why a call is ended by something other than its engine request.
enum class Interruption {
  kNone,
  kClientGone,   // cancelled or disconnected
  kDeadline,     // the call's deadline passed
  kSlowClient,   // too much waits for it to read
  kOutOfMemory,  // for what the client is to receive
};

// The status of a request that the engine ended with `engine_status`, which is
// CANCELLED whenever the server itself asked for the end.
absl::Status FinalStatus(absl::Status engine_status, Interruption why);

// Adds the details a client needs to a refusal of Engine::Submit.
absl::Status ExplainRefusal(absl::Status status);

// Counts and logs a request that ran.
void ReportEnd(const std::string& request_id, const absl::Status& status,
               const std::string& finish_reason,
               const runtime::Summary& summary, ServerMetrics& metrics);

// Counts and logs a request that was refused. `request_id` may be "".
void ReportRefusal(const std::string& request_id, const absl::Status& status,
                   ServerMetrics& metrics);

}  // namespace mla::server

#endif  // MLA_SERVER_OUTCOME_H_

// ServerMetrics: what the server room counts, on the registry the runtime's
// metrics share. Names and meaning: docs/ARCHITECTURE.md's metrics section.
// Threads: any.
#ifndef MLA_SERVER_SERVER_METRICS_H_
#define MLA_SERVER_SERVER_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <string>

#include "absl/status/status.h"
#include "mla/serving/v1/model.pb.h"

namespace mla::server {

class ServerMetrics {
 public:
  // `registry` outlives this. The model's name is every series' label.
  ServerMetrics(prometheus::Registry& registry,
                const serving::v1::Model& model);

  // A generation request ended with `status`; `finish_reason` is "stop",
  // "length", or "none" when it did not come to its end.
  void RequestEnded(const absl::Status& status,
                    const std::string& finish_reason);
  // A generation request was refused before it ran.
  void RequestRefused(const absl::Status& status);

  prometheus::Gauge& streams_active() { return streams_active_; }
  prometheus::Gauge& write_stalled_seconds() { return write_stalled_seconds_; }
  prometheus::Gauge& pending_bytes() { return pending_bytes_; }

 private:
  prometheus::Counter& AddRequests(const std::string& code,
                                   const std::string& finish_reason);

  const std::string model_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& rejections_;
  prometheus::Gauge& streams_active_;
  prometheus::Gauge& write_stalled_seconds_;
  prometheus::Gauge& pending_bytes_;
};

// The refusal's word on the metrics page: invalid, queue_full, tokens, deadline
// or draining.
const char* RejectionReason(const absl::Status& status);

}  // namespace mla::server

#endif  // MLA_SERVER_SERVER_METRICS_H_

// Tested by tests/server/generation_service_test.cc.
#include "server/server_metrics.h"

#include "server/error_details.h"

namespace mla::server {
namespace {

prometheus::Gauge& AddGauge(prometheus::Registry& registry, const char* name,
                            const char* help, const std::string& model) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(
      {{"model", model}});
}

}  // namespace

ServerMetrics::ServerMetrics(prometheus::Registry& registry,
                             const serving::v1::Model& model)
    : model_(model.name()),
      requests_(prometheus::BuildCounter()
                    .Name("mla_requests_total")
                    .Help("Generation requests that ended, by gRPC status code "
                          "and finish reason.")
                    .Register(registry)),
      rejections_(prometheus::BuildCounter()
                      .Name("mla_admission_rejections_total")
                      .Help("Generation requests refused before they ran.")
                      .Register(registry)),
      streams_active_(AddGauge(registry, "mla_grpc_streams_active",
                               "Generation calls open now.", model_)),
      write_stalled_seconds_(AddGauge(
          registry, "mla_grpc_write_stalled_seconds",
          "How long the slowest client has let a write wait.", model_)),
      pending_bytes_(AddGauge(registry, "mla_grpc_pending_bytes",
                              "Bytes generated that slow clients have not "
                              "taken yet.",
                              model_)) {
  prometheus::BuildGauge()
      .Name("mla_model_info")
      .Help("The model that is served; always 1.")
      .Register(registry)
      .Add({{"model", model_},
            {"architecture", model.architecture()},
            {"attention", model.attention().kind()},
            {"weights_dtype", model.weights_dtype()},
            {"kv_dtype", model.kv_dtype()}})
      .Set(1);
  // A series that starts at zero gives a rate from its first increment.
  for (const char* reason :
       {"invalid", "queue_full", "tokens", "deadline", "draining"}) {
    rejections_.Add({{"model", model_}, {"reason", reason}});
  }
  for (const char* reason : {"stop", "length"}) AddRequests("OK", reason);
  for (const char* code :
       {"CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED", "UNAVAILABLE"}) {
    AddRequests(code, "none");
  }
}

prometheus::Counter& ServerMetrics::AddRequests(
    const std::string& code, const std::string& finish_reason) {
  return requests_.Add(
      {{"model", model_}, {"code", code}, {"finish_reason", finish_reason}});
}

void ServerMetrics::RequestEnded(const absl::Status& status,
                                 const std::string& finish_reason) {
  AddRequests(absl::StatusCodeToString(status.code()), finish_reason)
      .Increment();
}

void ServerMetrics::RequestRefused(const absl::Status& status) {
  rejections_.Add({{"model", model_}, {"reason", RejectionReason(status)}})
      .Increment();
}

const char* RejectionReason(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return Reason(status) == kQueuedTokensFull ? "tokens" : "queue_full";
    case absl::StatusCode::kDeadlineExceeded:
      return "deadline";
    case absl::StatusCode::kUnavailable:
      return "draining";
    default:
      return "invalid";
  }
}

}  // namespace mla::server

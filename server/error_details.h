// Statuses that carry google.rpc details: which field is wrong, when to try
// again, why in one word. Details are absl::Status payloads keyed by their
// protobuf type URL; grpc_status.h puts them on the wire.
// Threads: any.
#ifndef MLA_SERVER_ERROR_DETAILS_H_
#define MLA_SERVER_ERROR_DETAILS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace mla::server {

// Collects what is wrong with a request, so that a client learns all of it at
// once.
class FieldViolations {
 public:
  // `field` is a path such as "sampling.top_p"; `description` reads on from it:
  // "must be in (0, 1], not 1.5".
  void Add(std::string field, std::string description);
  bool empty() const { return count_ == 0; }
  // OK when there are none, else INVALID_ARGUMENT with a BadRequest detail.
  absl::Status ToStatus() const;

 private:
  size_t count_ = 0;
  // The first kMaxReportedViolations (limits.h); the rest is only counted.
  std::vector<std::pair<std::string, std::string>> violations_;
};

// INVALID_ARGUMENT for one field.
absl::Status InvalidField(std::string field, std::string description);

// The same status for a request that is itself a field, `path`, of a larger
// one: its message and violations are put under it.
absl::Status InField(const std::string& path, const absl::Status& status);

// Reasons, as a program may switch on them.
inline constexpr char kModelNotFound[] = "MODEL_NOT_FOUND";
inline constexpr char kQueueFull[] = "QUEUE_FULL";
inline constexpr char kQueuedTokensFull[] = "QUEUED_TOKENS_FULL";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kRequestIdInUse[] = "REQUEST_ID_IN_USE";
inline constexpr char kSlowClient[] = "SLOW_CLIENT";

// Adds an ErrorInfo detail with one of the reasons above.
absl::Status WithReason(absl::Status status, std::string_view reason);
// The reason WithReason gave, or "".
std::string Reason(const absl::Status& status);

// Adds a RetryInfo detail.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

// A client's text made fit for a message: escaped, and cut to a bounded length.
std::string Quoted(std::string_view text);

}  // namespace mla::server

#endif  // MLA_SERVER_ERROR_DETAILS_H_

// absl::Status to what gRPC sends: the same code and message, details as a
// serialized google.rpc.Status (grpc-status-details-bin), and for a refusal
// that may be tried again the trailer gRPC's own retries obey.
// Threads: any; `context` as gRPC allows before Finish.
#ifndef MLA_SERVER_GRPC_STATUS_H_
#define MLA_SERVER_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace grpc {
class ServerContextBase;
}

namespace mla::server {

grpc::Status ToGrpcStatus(const absl::Status& status);

// Also adds `grpc-retry-pushback-ms` when the status names a retry delay. To be
// called once a call, before Finish.
grpc::Status ToGrpcStatus(const absl::Status& status,
                          grpc::ServerContextBase& context);

// The client's view: a gRPC status as absl::Status, details dropped.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace mla::server

#endif  // MLA_SERVER_GRPC_STATUS_H_

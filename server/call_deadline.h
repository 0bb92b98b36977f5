// A call's deadline as absl::Time; InfiniteFuture when the client set none.
#ifndef MLA_SERVER_CALL_DEADLINE_H_
#define MLA_SERVER_CALL_DEADLINE_H_

#include <grpcpp/server_context.h>

#include "absl/time/time.h"

namespace mla::server {

inline absl::Time CallDeadline(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max()
             ? absl::InfiniteFuture()
             : absl::FromChrono(deadline);
}

}  // namespace mla::server

#endif  // MLA_SERVER_CALL_DEADLINE_H_

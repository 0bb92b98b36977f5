// GrpcListener is one gRPC server on one address, with every limit of gRPC's
// that matters set by name (grpc_listener.cc), health and reflection.
// Owns:    the grpc::Server; not the services.
// Threads: any.
// Errors:  Create says which address cannot be listened on.
#ifndef MLA_SERVER_GRPC_LISTENER_H_
#define MLA_SERVER_GRPC_LISTENER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/readiness.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace mla::server {

class GrpcListener {
 public:
  struct Service {
    std::string name;  // full, as grpc.health.v1 is asked for it
    grpc::Service* service;
  };

  // The services and `readiness` outlive this. Health follows `readiness` for
  // "" and for every service; the name "liveness" is always SERVING.
  static absl::StatusOr<std::unique_ptr<GrpcListener>> Create(
      const std::string& address, const std::vector<Service>& services,
      Readiness& readiness);
  ~GrpcListener();  // Shutdown(now), if it was not called

  // With the port the system picked, if 0 was asked for.
  const std::string& address() const { return address_; }

  // Refuses new calls, lets live ones end until `deadline`, then cancels them.
  // Returns when gRPC has let go of every call.
  void Shutdown(absl::Time deadline);

 private:
  GrpcListener(std::unique_ptr<grpc::Server> server, std::string address,
               Readiness& readiness);
  void FollowReadiness(const std::vector<Service>& services);

  Readiness& readiness_;
  const std::unique_ptr<grpc::Server> server_;
  const std::string address_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_GRPC_LISTENER_H_

// AdminService answers mla.serving.v1.AdminService, on the admin listener only.
// Threads: any. Calls are synchronous, on gRPC's own threads, because Drain
// waits.
#ifndef MLA_SERVER_ADMIN_SERVICE_H_
#define MLA_SERVER_ADMIN_SERVICE_H_

#include <memory>

#include "runtime/engine.h"
#include "server/readiness.h"

namespace grpc {
class Service;
}

namespace mla::server {

// Both outlive the service.
std::unique_ptr<grpc::Service> MakeAdminService(runtime::Engine& engine,
                                                Readiness& readiness);

}  // namespace mla::server

#endif  // MLA_SERVER_ADMIN_SERVICE_H_

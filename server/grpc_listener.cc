// Tested by tests/server/grpc_listener_test.cc and tests/e2e/.
#include "server/grpc_listener.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/address.h"
#include "server/limits.h"

namespace mla::server {
namespace {

// Both are switches of the process and act on servers built later.
void EnableStandardServices() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxReceiveMessageBytes);
  builder.SetResourceQuota(
      grpc::ResourceQuota("mlaserve").Resize(kGrpcMemoryBytes));
  const std::pair<const char*, int> arguments[] = {
      // Two servers on one port must fail, not take turns.
      {GRPC_ARG_ALLOW_REUSEPORT, 0},
      {GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes},
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams},
      // A client that vanished without a FIN is noticed within 80 s.
      {GRPC_ARG_KEEPALIVE_TIME_MS, 60'000},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
      // Clients may ping every 10 s, idle or not; more is a strike.
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000},
      {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 3},
      {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000},
  };
  for (const auto& [name, value] : arguments) {
    builder.AddChannelArgument(name, value);
  }
}

std::string WithPort(const std::string& address, int port) {
  auto parsed = ParseHostPort(address);
  if (!parsed.ok()) return address;  // a unix socket
  parsed->port = port;
  return parsed->ToString();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcListener>> GrpcListener::Create(
    const std::string& address, const std::vector<Service>& services,
    Readiness& readiness) {
  EnableStandardServices();
  grpc::ServerBuilder builder;
  SetLimits(builder);
  for (const Service& service : services) {
    builder.RegisterService(service.service);
  }
  int port = 0;
  // TLS comes with a later issue; serve.cc warns about an open address.
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        " for gRPC: the address is in use, not this machine's, or not "
        "permitted"));
  }
  std::unique_ptr<GrpcListener> listener(
      new GrpcListener(std::move(server), WithPort(address, port), readiness));
  listener->FollowReadiness(services);
  return listener;
}

GrpcListener::GrpcListener(std::unique_ptr<grpc::Server> server,
                           std::string address, Readiness& readiness)
    : readiness_(readiness),
      server_(std::move(server)),
      address_(std::move(address)) {}

GrpcListener::~GrpcListener() {
  readiness_.Forget(this);
  Shutdown(absl::Now());
}

void GrpcListener::FollowReadiness(const std::vector<Service>& services) {
  std::vector<std::string> names = {""};
  for (const Service& service : services) names.push_back(service.name);
  grpc::HealthCheckServiceInterface* const health =
      server_->GetHealthCheckService();
  health->SetServingStatus("liveness", true);
  readiness_.Observe(this, [health, names](bool ready) {
    for (const std::string& name : names) {
      health->SetServingStatus(name, ready);
    }
  });
}

void GrpcListener::Shutdown(absl::Time deadline) {
  server_->Shutdown(absl::ToChronoTime(deadline));
  server_->Wait();
}

}  // namespace mla::server

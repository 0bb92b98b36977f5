// mlaserve health: a probe for Docker's HEALTHCHECK and shell scripts.
// Tested by tests/e2e/.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/grpc_status.h"

namespace mla::server {
namespace {

namespace health = grpc::health::v1;

struct HealthOptions {
  std::string target = kDefaultTarget;
  std::string service;
  double timeout_seconds = 2;
};

int Run(const HealthOptions& options) {
  const auto stub = health::Health::NewStub(MakeChannel(options.target));
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(absl::Now() + absl::Seconds(options.timeout_seconds)));
  health::HealthCheckRequest request;
  request.set_service(options.service);
  health::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) return Fail("health", FromGrpcStatus(status));
  std::cout << health::HealthCheckResponse::ServingStatus_Name(
                   response.status())
            << "\n";
  return response.status() == health::HealthCheckResponse::SERVING ? 0 : 1;
}

}  // namespace

void AddHealth(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<HealthOptions>();
  CLI::App* command = parent.add_subcommand(
      "health", "Ask a running server whether it serves.");
  command->add_option("--target", options->target, "The server's gRPC address")
      ->capture_default_str();
  command->add_option(
      "--service", options->service,
      "A service's full name, or \"liveness\"; default: the whole server");
  command
      ->add_option("--timeout-seconds", options->timeout_seconds,
                   "How long the server may take to answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->footer(
      "Prints the grpc.health.v1 status. Exit status 0: SERVING; 1: not, or "
      "no answer.");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

// Tested by tests/e2e/.
#include "server/commands/client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace mla::server {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // the answer to our own request
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(),
                                   arguments);
}

absl::Status Connect(grpc::Channel& channel, const std::string& target,
                     absl::Duration timeout) {
  if (channel.WaitForConnected(absl::ToChronoTime(absl::Now() + timeout))) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("no gRPC server answers at ",
                                             target, " within ",
                                             absl::FormatDuration(timeout)));
}

int Fail(const char* command, const absl::Status& status) {
  std::cerr << "mlaserve " << command << ": "
            << absl::StatusCodeToString(status.code()) << ": "
            << status.message() << "\n";
  return 1;
}

}  // namespace mla::server

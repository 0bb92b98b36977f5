// What the client commands share: a channel, and how a failed call is reported.
// Threads: any.
#ifndef MLA_SERVER_COMMANDS_CLIENT_H_
#define MLA_SERVER_COMMANDS_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace mla::server {

inline constexpr char kDefaultTarget[] = "127.0.0.1:50051";

// Not yet connected; receives answers of any size.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& target);

// Fails, saying so, when nothing answers at `target` within `timeout`.
absl::Status Connect(grpc::Channel& channel, const std::string& target,
                     absl::Duration timeout);

// Prints "mlaserve COMMAND: CODE: message" on standard error; returns 1.
int Fail(const char* command, const absl::Status& status);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_CLIENT_H_

// Listen addresses: HOST:PORT, [IPv6]:PORT, or unix:PATH (gRPC only).
// Threads: any; pure functions.
#ifndef MLA_SERVER_ADDRESS_H_
#define MLA_SERVER_ADDRESS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mla::server {

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;      // 0: the system picks one

  std::string ToString() const;
};

absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

// True for 127.0.0.0/8, ::1, localhost and unix sockets: addresses that only
// this machine reaches.
bool IsLoopback(std::string_view address);

}  // namespace mla::server

#endif  // MLA_SERVER_ADDRESS_H_

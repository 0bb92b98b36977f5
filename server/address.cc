// Tested by tests/server/address_test.cc.
#include "server/address.h"

#include <charconv>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::server {
namespace {

absl::StatusOr<int> ParsePort(std::string_view text) {
  constexpr int kMaxPort = 65535;
  int port = -1;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 0 ||
      port > kMaxPort) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", std::string(text), "' is not a port between 0 and ", kMaxPort));
  }
  return port;
}

}  // namespace

std::string HostPort::ToString() const {
  return host.find(':') == std::string::npos
             ? absl::StrCat(host, ":", port)
             : absl::StrCat("[", host, "]:", port);
}

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (colon == std::string_view::npos || host.empty() ||
      (!bracketed && host.find_first_of(":[]") != std::string_view::npos)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", std::string(text), "' is not an address of the form HOST:PORT"));
  }
  HostPort parsed;
  parsed.host = std::string(host);
  ASSIGN_OR_RETURN(parsed.port, ParsePort(text.substr(colon + 1)));
  return parsed;
}

bool IsLoopback(std::string_view address) {
  if (address.substr(0, 5) == "unix:") return true;
  const auto parsed = ParseHostPort(address);
  if (!parsed.ok()) return false;
  return parsed->host == "localhost" || parsed->host == "::1" ||
         parsed->host.substr(0, 4) == "127.";
}

}  // namespace mla::server

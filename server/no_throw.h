// Runs what answers a request and turns an exception into a status, so that a
// request which a library cannot serve (memory, above all) ends alone. Our own
// code throws nothing; this is the one place that catches.
#ifndef MLA_SERVER_NO_THROW_H_
#define MLA_SERVER_NO_THROW_H_

#include <exception>
#include <new>

#include "absl/status/status.h"
#include "server/log.h"

namespace mla::server {

// `function` returns absl::Status or absl::StatusOr.
template <typename Function>
auto NoThrow(Function&& function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory for this request");
  } catch (const std::exception& error) {
    Log().error("exception in a request: {}", error.what());
    return absl::InternalError("the request could not be handled");
  }
}

}  // namespace mla::server

#endif  // MLA_SERVER_NO_THROW_H_

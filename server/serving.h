// Serving is the whole server: it builds the rooms bottom-up (model, engine,
// listeners, a warm-up request) and takes them down top-down.
// Owns:    everything a server has.
// Threads: Start, Drain and the destructor from one thread.
// Errors:  Start says which part could not be made, and why.
#ifndef MLA_SERVER_SERVING_H_
#define MLA_SERVER_SERVING_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/engine.h"
#include "server/options.h"

namespace mla::server {

class Serving {
 public:
  // Returns when the server is ready. Calls `before_ready` when everything
  // works and nobody has been told: who asks it to stop from then on is to get
  // a drain.
  static absl::StatusOr<std::unique_ptr<Serving>> Start(
      const ServeOptions& options, std::function<void()> before_ready = [] {});
  virtual ~Serving() = default;  // cuts off what still runs

  // With the ports the system picked.
  virtual std::string grpc_address() const = 0;
  virtual std::string http_address() const = 0;
  virtual std::string admin_address() const = 0;

  // Turns readiness off, waits drain_delay_seconds, refuses new requests, and
  // waits for the accepted ones and their clients. False when some were cut off
  // at drain_timeout_seconds.
  virtual bool Drain() = 0;

  virtual runtime::Engine& engine() = 0;
};

}  // namespace mla::server

#endif  // MLA_SERVER_SERVING_H_

// HttpListener is the operators' page: /metrics (Prometheus text), /healthz
// (the process is alive), /readyz (200 when ready, else 503 and the state).
// Owns:    the socket, a fixed number of threads.
// Threads: any; handlers only read.
// Errors:  Create says which address cannot be listened on.
#ifndef MLA_SERVER_HTTP_LISTENER_H_
#define MLA_SERVER_HTTP_LISTENER_H_

#include <prometheus/metric_family.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/readiness.h"

namespace mla::server {

class HttpListener {
 public:
  // What one scrape shows; called from any of the listener's threads.
  using Collect = std::function<std::vector<prometheus::MetricFamily>()>;

  // `readiness` outlives this.
  static absl::StatusOr<std::unique_ptr<HttpListener>> Create(
      const std::string& address, Collect collect, const Readiness& readiness);
  virtual ~HttpListener() = default;  // stops listening

  // With the port the system picked, if 0 was asked for.
  virtual std::string address() const = 0;
};

}  // namespace mla::server

#endif  // MLA_SERVER_HTTP_LISTENER_H_

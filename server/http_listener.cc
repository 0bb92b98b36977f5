// Tested by tests/server/http_listener_test.cc.
#include "server/http_listener.h"

#include <httplib.h>
#include <prometheus/text_serializer.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "server/address.h"

namespace mla::server {
namespace {

// A scrape, a probe and a person, with room for clients that hang: each holds
// one thread until its timeout.
constexpr size_t kThreads = 32;
constexpr time_t kTimeoutSeconds = 2;   // to send the request, to take a write
constexpr size_t kMaxBodyBytes = 4096;  // nothing here reads one

constexpr char kText[] = "text/plain; charset=utf-8";
constexpr char kPrometheusText[] = "text/plain; version=0.0.4; charset=utf-8";

// Without SO_REUSEPORT, which httplib sets by default and with which two
// servers on one port would take turns instead of failing.
void SetSocketOptions(socket_t socket) {
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

class Listener final : public HttpListener {
 public:
  Listener(Collect collect, const Readiness& readiness) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_socket_options(SetSocketOptions);
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_keep_alive_timeout(kTimeoutSeconds);
    server_.set_payload_max_length(kMaxBodyBytes);
    server_.Get("/metrics", [collect = std::move(collect)](
                                const httplib::Request&,
                                httplib::Response& response) {
      response.set_content(prometheus::TextSerializer().Serialize(collect()),
                           kPrometheusText);
    });
    server_.Get("/healthz",
                [](const httplib::Request&, httplib::Response& response) {
                  response.set_content("alive\n", kText);
                });
    server_.Get("/readyz", [&readiness](const httplib::Request&,
                                        httplib::Response& response) {
      const Readiness::State state = readiness.state();
      response.status = state == Readiness::State::kReady ? 200 : 503;
      response.set_content(absl::StrCat(Name(state), "\n"), kText);
    });
  }

  ~Listener() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(HostPort address) {
    if (address.port == 0) {
      address.port = server_.bind_to_any_port(address.host);
    } else if (!server_.bind_to_port(address.host, address.port)) {
      address.port = -1;
    }
    if (address.port < 0) {
      return absl::UnavailableError(
          "the address is in use, not this machine's, or not permitted");
    }
    address_ = address.ToString();
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() does nothing before this, and then nothing ends the thread.
    while (!server_.is_running()) std::this_thread::yield();
    return absl::OkStatus();
  }

  std::string address() const override { return address_; }

 private:
  httplib::Server server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpListener>> HttpListener::Create(
    const std::string& address, Collect collect, const Readiness& readiness) {
  ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(address));
  auto listener = std::make_unique<Listener>(std::move(collect), readiness);
  if (absl::Status status = listener->Listen(parsed); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("cannot listen on ", address,
                                     " for HTTP: ", status.message()));
  }
  return listener;
}

}  // namespace mla::server

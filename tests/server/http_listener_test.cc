#include "server/http_listener.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "server/address.h"

namespace mla::server {
namespace {

using ::testing::HasSubstr;

class HttpListenerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    prometheus::BuildCounter()
        .Name("mla_x_total")
        .Help("x")
        .Register(registry_)
        .Add({{"model", "m"}})
        .Increment(3);
    auto made = HttpListener::Create(
        "127.0.0.1:0", [this] { return registry_.Collect(); }, readiness_);
    ASSERT_TRUE(made.ok()) << made.status();
    listener_ = *std::move(made);
    address_ = *ParseHostPort(listener_->address());
  }

  httplib::Result Get(const char* path) {
    return httplib::Client(address_.host, address_.port).Get(path);
  }

  prometheus::Registry registry_;
  Readiness readiness_;
  std::unique_ptr<HttpListener> listener_;
  HostPort address_;
};

TEST_F(HttpListenerTest, MetricsAreServedAsPrometheusText) {
  const auto response = Get("/metrics");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_THAT(response->get_header_value("Content-Type"),
              HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(response->body, HasSubstr("mla_x_total{model=\"m\"} 3"));
}

TEST_F(HttpListenerTest, HealthzIsAliveInEveryState) {
  for (const auto state :
       {Readiness::State::kLoading, Readiness::State::kDraining}) {
    readiness_.Set(state);
    ASSERT_TRUE(Get("/healthz"));
    EXPECT_EQ(Get("/healthz")->status, 200);
  }
}

TEST_F(HttpListenerTest, ReadyzFollowsTheState) {
  EXPECT_EQ(Get("/readyz")->status, 503);
  EXPECT_EQ(Get("/readyz")->body, "loading\n");
  readiness_.Set(Readiness::State::kReady);
  EXPECT_EQ(Get("/readyz")->status, 200);
  readiness_.Set(Readiness::State::kDraining);
  EXPECT_EQ(Get("/readyz")->status, 503);
  EXPECT_EQ(Get("/readyz")->body, "draining\n");
}

TEST_F(HttpListenerTest, NothingElseIsServed) {
  EXPECT_EQ(Get("/")->status, 404);
  EXPECT_EQ(Get("/../etc/passwd")->status, 404);
}

TEST_F(HttpListenerTest, ASecondListenerOnThePortFails) {
  const auto second = HttpListener::Create(
      listener_->address(), [this] { return registry_.Collect(); }, readiness_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(listener_->address()));
}

// A connection that never sends a request.
class SilentClient {
 public:
  explicit SilentClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof(to)),
              0);
  }
  ~SilentClient() { close(socket_); }

 private:
  const int socket_;
};

TEST_F(HttpListenerTest, ClientsThatSendNothingAreDroppedInTime) {
  constexpr int kMoreThanItsThreads = 40;
  std::vector<std::unique_ptr<SilentClient>> silent;
  for (int i = 0; i < kMoreThanItsThreads; ++i) {
    silent.push_back(std::make_unique<SilentClient>(address_.port));
  }
  httplib::Client client(address_.host, address_.port);
  client.set_read_timeout(20);
  const absl::Time start = absl::Now();
  const auto response = client.Get("/healthz");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(Readiness, DrainingIsForGood) {
  Readiness readiness;
  std::vector<bool> seen;
  readiness.Observe(&seen, [&](bool ready) { seen.push_back(ready); });
  readiness.Set(Readiness::State::kReady);
  readiness.Set(Readiness::State::kDraining);
  readiness.Set(Readiness::State::kReady);
  EXPECT_EQ(readiness.state(), Readiness::State::kDraining);
  EXPECT_EQ(seen, (std::vector<bool>{false, true, false}));
}

TEST(Readiness, AnObserverThatIsForgottenHearsNoMore) {
  Readiness readiness;
  int heard = 0;
  readiness.Observe(&heard, [&](bool) { ++heard; });
  readiness.Forget(&heard);
  readiness.Set(Readiness::State::kReady);
  EXPECT_EQ(heard, 1);
}

}  // namespace
}  // namespace mla::server

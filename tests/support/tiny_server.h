// A whole server in this process, on ports the system picks, with a tiny golden
// model, and a client's stub for it.
#ifndef MLA_TESTS_SUPPORT_TINY_SERVER_H_
#define MLA_TESTS_SUPPORT_TINY_SERVER_H_

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "mla/serving/v1/generation.grpc.pb.h"
#include "server/address.h"
#include "server/serving.h"
#include "tests/support/golden_models.h"

namespace mla::testing {

inline server::ServeOptions TinyServeOptions(
    const std::string& model = "qwen2") {
  server::ServeOptions options;
  options.model = GoldenModelsFolder() + "/" + model;
  options.load.model.weights_dtype = kernels::DType::kF32;
  options.load.backend.threads = 2;
  options.engine.kv_dtype = kernels::DType::kF32;
  options.engine.kv_cache_bytes = int64_t{64} << 20;
  options.grpc_listen = "127.0.0.1:0";
  options.http_listen = "127.0.0.1:0";
  options.admin_listen = "127.0.0.1:0";
  return options;
}

class TinyServer {
 public:
  explicit TinyServer(
      const server::ServeOptions& options = TinyServeOptions()) {
    auto started = server::Serving::Start(options);
    EXPECT_TRUE(started.ok()) << started.status();
    if (started.ok()) serving_ = *std::move(started);
  }

  server::Serving& operator*() { return *serving_; }
  server::Serving* operator->() { return serving_.get(); }
  explicit operator bool() const { return serving_ != nullptr; }
  void Stop() { serving_.reset(); }

  // On a connection of its own, which takes 64 KiB that nobody reads: gRPC
  // would let the window grow to megabytes. It is made here, because of many
  // channels that connect at once gRPC 1.51 fails one now and then ("No such
  // file or directory") and is to try again.
  std::unique_ptr<serving::v1::GenerationService::Stub> Stub() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
    const auto channel = grpc::CreateCustomChannel(
        serving_->grpc_address(), grpc::InsecureChannelCredentials(),
        arguments);
    EXPECT_TRUE(channel->WaitForConnected(
        absl::ToChronoTime(absl::Now() + absl::Seconds(30))));
    return serving::v1::GenerationService::NewStub(channel);
  }

  std::string Page(const std::string& path) const {
    const auto address = server::ParseHostPort(serving_->http_address());
    const auto response =
        httplib::Client(address->host, address->port).Get(path);
    return response ? response->body : "";
  }

 private:
  std::unique_ptr<server::Serving> serving_;
};

// Waits for `condition`; false if it does not hold within 30 seconds.
template <typename Condition>
bool Eventually(Condition condition) {
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > limit) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_TINY_SERVER_H_

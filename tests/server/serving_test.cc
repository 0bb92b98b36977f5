#include "server/serving.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/tiny_server.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using ::testing::HasSubstr;
using testing::TinyServeOptions;
using testing::TinyServer;

v1::GenerateRequest Request(int max_tokens) {
  v1::GenerateRequest request;
  request.mutable_token_ids()->add_ids(1);
  request.mutable_stop()->set_max_tokens(max_tokens);
  request.mutable_stop()->set_ignore_eos(true);
  return request;
}

TEST(Serving, IsReadyWhenStartReturns) {
  TinyServer server;
  ASSERT_TRUE(server);
  EXPECT_EQ(server.Page("/readyz"), "ready\n");
}

TEST(Serving, ADrainUnderLoadLosesNothingThatWasAccepted) {
  constexpr int kStreams = 16;
  constexpr uint32_t kTokens = 200;
  TinyServer server;
  ASSERT_TRUE(server);
  std::atomic<int> accepted = 0;
  std::vector<uint32_t> received(kStreams, 0);
  std::vector<std::thread> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.emplace_back([&, i] {
      const auto stub = server.Stub();
      grpc::ClientContext context;
      const auto reader = stub->Generate(&context, Request(kTokens));
      v1::GenerateResponse response;
      bool first = true;
      while (reader->Read(&response)) {
        if (std::exchange(first, false)) ++accepted;
        received[i] += response.chunk().token_ids_size();
      }
      const grpc::Status status = reader->Finish();
      EXPECT_TRUE(status.ok())
          << status.error_code() << ": " << status.error_message();
    });
  }
  ASSERT_TRUE(testing::Eventually([&] { return accepted == kStreams; }));
  EXPECT_TRUE(server->Drain());
  EXPECT_EQ(server.Page("/readyz"), "draining\n");
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(received, ::testing::Each(kTokens));
}

TEST(Serving, ADrainThatTakesTooLongCutsOff) {
  ServeOptions options = TinyServeOptions();
  options.drain_timeout_seconds = 0;
  TinyServer server(options);
  ASSERT_TRUE(server);
  const auto stub = server.Stub();
  grpc::ClientContext context;
  v1::GenerateRequest request = Request(500);
  request.mutable_sampling()->set_n(64);
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_FALSE(server->Drain());
  while (reader->Read(&response)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
}

TEST(Serving, StopsWithCallsOpen) {
  TinyServer server;
  ASSERT_TRUE(server);
  const auto stub = server.Stub();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, Request(500));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  server.Stop();
  while (reader->Read(&response)) {
  }
  reader->Finish();
}

TEST(Serving, APortInUseIsAStartUpErrorThatNamesIt) {
  TinyServer server;
  ASSERT_TRUE(server);
  ServeOptions options = TinyServeOptions();
  options.grpc_listen = server->grpc_address();
  const auto second = Serving::Start(options);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("cannot listen on ",
                                     server->grpc_address(), " for gRPC")));
}

TEST(Serving, AModelThatIsNotThereIsAStartUpError) {
  ServeOptions options = TinyServeOptions();
  options.model += "-is-not-there";
  EXPECT_FALSE(Serving::Start(options).ok());
}

}  // namespace
}  // namespace mla::server

#include "server/commands/load_generator.h"

#include <gtest/gtest.h>

#include "server/commands/client.h"
#include "tests/support/tiny_server.h"

namespace mla::server {
namespace {

TEST(RunLoad, MeasuresEveryRequest) {
  testing::TinyServer server;
  ASSERT_TRUE(server);
  LoadOptions options;
  options.rate = 200;
  options.requests = 30;
  options.prompt_tokens = 10;
  options.generate_tokens = 5;
  const auto result = RunLoad(MakeChannel(server->grpc_address()), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->by_code.at("OK"), 30);
  EXPECT_EQ(result->cancelled, 0);
  EXPECT_EQ(result->ttft.size(), 30u);
  EXPECT_EQ(result->e2e.size(), 30u);
  EXPECT_EQ(result->prompt_tokens, 300);
  EXPECT_EQ(result->generated_tokens, 150);
}

TEST(RunLoad, CancelsTheShareItIsToldTo) {
  testing::TinyServer server;
  ASSERT_TRUE(server);
  LoadOptions options;
  options.rate = 200;
  options.requests = 20;
  options.prompt_tokens = 4;
  options.generate_tokens = 400;
  options.cancel_fraction = 1;
  options.concurrency = 4;
  const auto result = RunLoad(MakeChannel(server->grpc_address()), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT(result->cancelled, 10);
  EXPECT_TRUE(testing::Eventually(
      [&] { return server->engine().Stats().cache.active_blocks == 0; }));
}

TEST(RunLoad, SaysWhenNobodyAnswers) {
  EXPECT_FALSE(RunLoad(MakeChannel("127.0.0.1:1"), LoadOptions()).ok());
}

}  // namespace
}  // namespace mla::server

#include "server/admin_service.h"

#include <gtest/gtest.h>

#include <thread>

#include "mla/serving/v1/admin.grpc.pb.h"
#include "tests/support/tiny_server.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using testing::TinyServer;

class AdminServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(server_);
    admin_ = v1::AdminService::NewStub(grpc::CreateChannel(
        server_->admin_address(), grpc::InsecureChannelCredentials()));
  }

  v1::CacheStats Stats() {
    grpc::ClientContext context;
    v1::CacheStats stats;
    EXPECT_TRUE(
        admin_->GetCacheStats(&context, v1::GetCacheStatsRequest(), &stats)
            .ok());
    return stats;
  }

  TinyServer server_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

v1::GenerateRequest Request(int prompt_tokens, int max_tokens) {
  v1::GenerateRequest request;
  for (int i = 0; i < prompt_tokens; ++i) {
    request.mutable_token_ids()->add_ids(i);
  }
  request.mutable_stop()->set_max_tokens(max_tokens);
  request.mutable_stop()->set_ignore_eos(true);
  return request;
}

TEST_F(AdminServiceTest, StatesSumToTheTotalAndFlushEmptiesTheCache) {
  grpc::ClientContext context;
  v1::GenerateResult result;
  ASSERT_TRUE(
      server_.Stub()->GenerateUnary(&context, Request(300, 4), &result).ok());
  const v1::CacheStats stats = Stats();
  EXPECT_EQ(stats.free_blocks() + stats.active_blocks() +
                stats.cached_blocks() + stats.reserved_blocks(),
            stats.total_blocks());
  EXPECT_EQ(stats.block_bytes(),
            stats.bytes_per_token() * stats.block_tokens());
  EXPECT_GT(stats.cached_blocks(), 0u);
  grpc::ClientContext flush_context;
  v1::FlushCacheResponse flushed;
  ASSERT_TRUE(
      admin_->FlushCache(&flush_context, v1::FlushCacheRequest(), &flushed)
          .ok());
  EXPECT_EQ(flushed.freed_blocks(), stats.cached_blocks());
  EXPECT_EQ(Stats().cached_blocks(), 0u);
}

TEST_F(AdminServiceTest, DrainAnswersWhenAcceptedRequestsHaveEnded) {
  const auto stub = server_.Stub();
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, Request(1, 300));
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  int tokens = response.chunk().token_ids_size();
  std::thread client([&] {
    while (reader->Read(&response)) {
      tokens += response.chunk().token_ids_size();
    }
    EXPECT_TRUE(reader->Finish().ok());
  });
  grpc::ClientContext drain_context;
  v1::DrainResponse drained;
  EXPECT_TRUE(admin_->Drain(&drain_context, v1::DrainRequest(), &drained).ok());
  EXPECT_EQ(server_->engine().Stats().running_requests, 0);
  client.join();
  EXPECT_EQ(tokens, 300);
  EXPECT_EQ(server_.Page("/readyz"), "draining\n");
  grpc::ClientContext refused_context;
  v1::GenerateResult result;
  EXPECT_EQ(stub->GenerateUnary(&refused_context, Request(1, 1), &result)
                .error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(AdminServiceTest, DrainGivesUpAtTheCallsDeadlineAndDrainsOn) {
  const auto stub = server_.Stub();
  grpc::ClientContext context;
  v1::GenerateRequest request = Request(1, 500);
  request.mutable_sampling()->set_n(64);
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  grpc::ClientContext drain_context;
  drain_context.set_deadline(
      absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
  v1::DrainResponse drained;
  EXPECT_EQ(
      admin_->Drain(&drain_context, v1::DrainRequest(), &drained).error_code(),
      grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(server_.Page("/readyz"), "draining\n");
  context.TryCancel();
  while (reader->Read(&response)) {
  }
  reader->Finish();
}

}  // namespace
}  // namespace mla::server

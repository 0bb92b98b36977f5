// Streams, unary calls and batches over real gRPC on the loopback, with the
// real engine on a tiny model: what a client gets, and what is left behind.
#include "server/generation_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/limits.h"
#include "tests/support/tiny_server.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using ::testing::ElementsAreArray;
using testing::Eventually;
using ::testing::HasSubstr;
using testing::TinyServer;

constexpr int kLongest = 500;  // tokens; the model's context is 512

v1::GenerateRequest Request(std::vector<uint32_t> prompt, int max_tokens) {
  v1::GenerateRequest request;
  for (const uint32_t id : prompt) request.mutable_token_ids()->add_ids(id);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stop()->set_max_tokens(max_tokens);
  request.mutable_stop()->set_ignore_eos(true);
  return request;
}

// As much output as one request may have: megabytes.
v1::GenerateRequest HugeAnswer() {
  v1::GenerateRequest request = Request({1, 2, 3}, kLongest);
  request.mutable_sampling()->set_temperature(1);
  request.mutable_sampling()->set_n(kMaxChoices);
  request.mutable_output()->set_logprobs(kMaxLogprobs);
  return request;
}

struct Answer {
  std::vector<uint32_t> ids;
  std::string text;
  std::vector<v1::Finish> finishes;
  std::vector<v1::Summary> summaries;
  bool chunk_after_summary = false;
  grpc::Status status;
};

Answer ReadAll(grpc::ClientReader<v1::GenerateResponse>& reader) {
  Answer answer;
  v1::GenerateResponse response;
  while (reader.Read(&response)) {
    if (response.has_summary()) {
      answer.summaries.push_back(response.summary());
      continue;
    }
    const v1::Chunk& chunk = response.chunk();
    answer.chunk_after_summary |= !answer.summaries.empty();
    answer.ids.insert(answer.ids.end(), chunk.token_ids().begin(),
                      chunk.token_ids().end());
    answer.text += chunk.text();
    if (chunk.has_finish()) answer.finishes.push_back(chunk.finish());
  }
  answer.status = reader.Finish();
  return answer;
}

Answer Stream(v1::GenerationService::Stub& stub,
              const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  return ReadAll(*stub.Generate(&context, request));
}

std::string ErrorReason(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    if (any.UnpackTo(&info)) return info.reason();
  }
  return "";
}

class GenerationServiceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new TinyServer; }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  void SetUp() override { ASSERT_TRUE(*server_); }

  // Nothing of any request is left: not in the engine, not in the server.
  void TearDown() override {
    EXPECT_TRUE(Eventually([] {
      const auto stats = (*server_)->engine().Stats();
      return stats.cache.active_blocks == 0 && stats.running_requests == 0 &&
             stats.waiting_requests == 0;
    }));
    EXPECT_TRUE(Eventually([] {
      return server_->Page("/metrics")
                 .find(
                     "mla_grpc_streams_active{model="
                     "\"qwen2\"} 0\n") != std::string::npos;
    }));
  }

  static TinyServer* server_;
  std::unique_ptr<v1::GenerationService::Stub> stub_ = server_->Stub();
};

TinyServer* GenerationServiceTest::server_ = nullptr;

TEST_F(GenerationServiceTest, AStreamIsChunksAndThenOneSummary) {
  const Answer answer = Stream(*stub_, Request({1, 2, 3}, 20));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.ids.size(), 20u);
  ASSERT_EQ(answer.finishes.size(), 1u);
  EXPECT_EQ(answer.finishes[0].reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_EQ(answer.summaries.size(), 1u);
  EXPECT_FALSE(answer.chunk_after_summary);
  EXPECT_EQ(answer.summaries[0].usage().prompt_tokens(), 3u);
  EXPECT_EQ(answer.summaries[0].usage().generated_tokens(), 20u);
}

TEST_F(GenerationServiceTest, UnaryAndBatchAnswerAsTheStream) {
  const v1::GenerateRequest request = Request({4, 5}, 12);
  const Answer streamed = Stream(*stub_, request);
  v1::GenerateResult unary;
  grpc::ClientContext unary_context;
  ASSERT_TRUE(stub_->GenerateUnary(&unary_context, request, &unary).ok());
  EXPECT_THAT(unary.choices(0).token_ids(), ElementsAreArray(streamed.ids));
  EXPECT_EQ(unary.choices(0).text(), streamed.text);
  EXPECT_EQ(unary.usage().generated_tokens(), 12u);

  v1::BatchGenerateRequest batch;
  for (int i = 0; i < 5; ++i) *batch.add_requests() = request;
  v1::BatchGenerateResponse results;
  grpc::ClientContext batch_context;
  ASSERT_TRUE(stub_->BatchGenerate(&batch_context, batch, &results).ok());
  ASSERT_EQ(results.results_size(), 5);
  for (const auto& result : results.results()) {
    EXPECT_THAT(result.choices(0).token_ids(), ElementsAreArray(streamed.ids));
  }
}

TEST_F(GenerationServiceTest, ABatchWithABadRequestRunsNothing) {
  const int64_t before = (*server_)->engine().Stats().cache.cached_blocks;
  v1::BatchGenerateRequest batch;
  *batch.add_requests() = Request(std::vector<uint32_t>(200, 9), 5);
  *batch.add_requests() = Request({1200}, 5);
  v1::BatchGenerateResponse results;
  grpc::ClientContext context;
  const grpc::Status status = stub_->BatchGenerate(&context, batch, &results);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("requests[1].token_ids"));
  EXPECT_EQ((*server_)->engine().Stats().cache.cached_blocks, before);
}

TEST_F(GenerationServiceTest, ABatchWithAnIdTwiceIsRefusedWhole) {
  v1::BatchGenerateRequest batch;
  for (int i = 0; i < 3; ++i) {
    *batch.add_requests() = Request({1, 2}, kLongest);
    batch.mutable_requests(i)->set_request_id("same");
  }
  v1::BatchGenerateResponse results;
  grpc::ClientContext context;
  const grpc::Status status = stub_->BatchGenerate(&context, batch, &results);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ErrorReason(status), "REQUEST_ID_IN_USE");
}

TEST_F(GenerationServiceTest, CancelEndsAStreamWithCancelled) {
  v1::GenerateRequest request = Request({1, 2, 3}, kLongest);
  request.set_request_id("mine");
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, request);
  v1::GenerateResponse first;
  ASSERT_TRUE(reader->Read(&first));
  EXPECT_EQ(first.request_id(), "mine");
  v1::CancelRequest cancel;
  cancel.set_request_id("mine");
  v1::CancelResponse cancelled;
  grpc::ClientContext cancel_context;
  EXPECT_TRUE(stub_->Cancel(&cancel_context, cancel, &cancelled).ok());
  const Answer rest = ReadAll(*reader);
  EXPECT_EQ(rest.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(rest.summaries.empty());
  grpc::ClientContext again_context;
  EXPECT_EQ(stub_->Cancel(&again_context, cancel, &cancelled).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(GenerationServiceTest, ADeadlineEndsAStream) {
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(absl::Now() + absl::Milliseconds(30)));
  const auto reader = stub_->Generate(&context, HugeAnswer());
  EXPECT_EQ(ReadAll(*reader).status.error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(GenerationServiceTest, AClientThatGoesAwayFreesItsBlocks) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> calls;
  v1::GenerateResponse response;
  for (uint32_t i = 0; i < 8; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(
        stub_->Generate(contexts.back().get(), Request({i, 2}, kLongest)));
  }
  for (const auto& call : calls) EXPECT_TRUE(call->Read(&response));
  // A step's stats come out after its tokens.
  EXPECT_TRUE(Eventually(
      [] { return (*server_)->engine().Stats().cache.active_blocks > 0; }));
  for (const auto& context : contexts) context->TryCancel();
  for (const auto& call : calls) {
    EXPECT_EQ(ReadAll(*call).status.error_code(), grpc::StatusCode::CANCELLED);
  }
  // TearDown waits for the pool to be empty.
}

TEST_F(GenerationServiceTest, AClientThatNeverReadsCostsBoundedMemory) {
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, HugeAnswer());
  // The engine is done with it long before its answer is, and without a read.
  EXPECT_TRUE(Eventually(
      [] { return (*server_)->engine().Stats().running_requests == 1; }));
  EXPECT_TRUE(Eventually(
      [] { return (*server_)->engine().Stats().running_requests == 0; }));
  const Answer answer = ReadAll(*reader);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ErrorReason(answer.status), "SLOW_CLIENT");
}

TEST_F(GenerationServiceTest, ASlowReaderGetsEverythingCoalesced) {
  const v1::GenerateRequest request = Request({6, 7}, kLongest);
  const Answer fast = Stream(*stub_, request);
  grpc::ClientContext context;
  const auto reader = stub_->Generate(&context, request);
  EXPECT_TRUE(Eventually(
      [] { return (*server_)->engine().Stats().running_requests == 0; }));
  const Answer slow = ReadAll(*reader);
  EXPECT_TRUE(slow.status.ok());
  EXPECT_EQ(slow.ids, fast.ids);
  EXPECT_EQ(slow.text, fast.text);
}

// Large requests are read on threads of their own, where the call may end
// before its request begins.
TEST_F(GenerationServiceTest, LargeRequestsWhoseClientsLeaveAreNotRun) {
  v1::GenerateRequest request = Request({1}, 400);
  request.set_text(std::string(30'000, ' '));  // few tokens, slow to find
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> calls;
  for (int i = 0; i < 40; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    request.set_request_id(absl::StrCat("large-", i % 4));  // some in use
    calls.push_back(stub_->Generate(contexts.back().get(), request));
    if (i % 2 == 0) contexts.back()->TryCancel();
  }
  for (size_t i = 1; i < calls.size(); i += 2) contexts[i]->TryCancel();
  for (const auto& call : calls) {
    EXPECT_FALSE(ReadAll(*call).status.ok());
  }
}

TEST_F(GenerationServiceTest, LargeRequestsAnswerAsSmallOnes) {
  v1::TokenizeRequest tokenize;
  tokenize.set_text(std::string(30'000, 'a'));
  v1::TokenizeResponse tokens;
  grpc::ClientContext tokenize_context;
  ASSERT_TRUE(stub_->Tokenize(&tokenize_context, tokenize, &tokens).ok());
  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_token_ids() = tokens.token_ids();
  v1::DetokenizeResponse text;
  grpc::ClientContext detokenize_context;
  ASSERT_TRUE(stub_->Detokenize(&detokenize_context, detokenize, &text).ok());
  EXPECT_EQ(text.text(), tokenize.text());

  v1::BatchGenerateRequest batch;
  for (int i = 0; i < 64; ++i) {
    *batch.add_requests() = Request(std::vector<uint32_t>(300, 1000 + i), 2);
  }
  ASSERT_GT(batch.ByteSizeLong(), kInlineRequestBytes);
  v1::BatchGenerateResponse results;
  grpc::ClientContext batch_context;
  const grpc::Status status =
      stub_->BatchGenerate(&batch_context, batch, &results);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(results.results_size(), 64);
}

TEST_F(GenerationServiceTest, RandomEndsLeaveNothingBehind) {
  constexpr int kClients = 8;
  constexpr int kCallsEach = 25;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([c] {
      std::mt19937 random(c);
      const auto stub = server_->Stub();
      for (int i = 0; i < kCallsEach; ++i) {
        grpc::ClientContext context;
        v1::GenerateRequest request =
            Request({static_cast<uint32_t>(random() % 1200)}, 40);
        request.mutable_sampling()->set_n(1 + random() % 3);
        const uint32_t end = random() % 4;
        if (end == 0) {
          context.set_deadline(absl::ToChronoTime(
              absl::Now() + absl::Milliseconds(random() % 30)));
        }
        const auto reader = stub->Generate(&context, request);
        v1::GenerateResponse response;
        const uint32_t reads = random() % 20;
        for (uint32_t r = 0; r < reads && reader->Read(&response); ++r) {
        }
        if (end == 1) context.TryCancel();
        if (end == 2) {
          v1::CancelRequest cancel;
          cancel.set_request_id(response.request_id());
          v1::CancelResponse cancelled;
          grpc::ClientContext cancel_context;
          stub->Cancel(&cancel_context, cancel, &cancelled);
        }
        const Answer rest = ReadAll(*reader);
        if (end == 3) {
          EXPECT_TRUE(rest.status.ok()) << rest.status.error_message();
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(GenerationServiceTest, AStreamWhoseClientStallsIsAbandoned) {
  ServeOptions options = testing::TinyServeOptions();
  options.stream_stall_seconds = 1;
  TinyServer server(options);
  const auto stub = server.Stub();
  grpc::ClientContext context;
  v1::GenerateRequest request = HugeAnswer();
  request.mutable_sampling()->set_n(8);  // above the window, below the bound
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));  // and then nothing more
  EXPECT_TRUE(Eventually([&] {
    const std::string page = server.Page("/metrics");
    return page.find("mla_grpc_streams_active{model=\"qwen2\"} 1\n") ==
               std::string::npos &&
           server->engine().Stats().running_requests == 0;
  }));
  EXPECT_FALSE(ReadAll(*reader).status.ok());
}

TEST_F(GenerationServiceTest, AFullQueueSaysWhenToTryAgain) {
  ServeOptions options = testing::TinyServeOptions();
  options.engine.max_running = 1;
  options.engine.max_queued_requests = 1;
  TinyServer server(options);
  const auto stub = server.Stub();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> calls;
  v1::GenerateResponse response;
  for (int i = 0; i < 2; ++i) {  // one runs, one waits
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(
        stub->Generate(contexts.back().get(), Request({1}, kLongest)));
    if (i == 0) {
      ASSERT_TRUE(calls[0]->Read(&response));
    }
  }
  ASSERT_TRUE(Eventually(
      [&] { return server->engine().Stats().waiting_requests == 1; }));
  grpc::ClientContext context;
  v1::GenerateResult result;
  const grpc::Status status =
      stub->GenerateUnary(&context, Request({2}, 1), &result);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ErrorReason(status), "QUEUE_FULL");
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, trailers.end());
  EXPECT_EQ(std::string(pushback->second.data(), pushback->second.size()),
            "1000");
  EXPECT_THAT(server.Page("/metrics"),
              HasSubstr("mla_admission_rejections_total{model=\"qwen2"
                        "\",reason=\"queue_full\"} 1"));
  for (const auto& call_context : contexts) call_context->TryCancel();
  for (const auto& call : calls) ReadAll(*call);
}

}  // namespace
}  // namespace mla::server

#include "server/pending_chunks.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/limits.h"
#include "server/response_conversion.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

runtime::TokenDelta Delta(int index, const std::string& text,
                          std::vector<int32_t> ids) {
  runtime::TokenDelta delta;
  delta.index = index;
  delta.text = text;
  delta.token_ids = std::move(ids);
  return delta;
}

TEST(PendingChunks, DeltasOfOneChoiceBecomeOneChunk) {
  PendingChunks pending;
  pending.Add(Delta(0, "Hel", {1}));
  pending.Add(Delta(0, "lo", {2, 3}));
  const v1::Chunk chunk = pending.Pop().chunk();
  EXPECT_EQ(chunk.text(), "Hello");
  EXPECT_EQ(chunk.token_ids_size(), 3);
  EXPECT_TRUE(pending.empty());
  EXPECT_EQ(pending.bytes(), 0u);
}

TEST(PendingChunks, ChoicesStayApartAndInOrder) {
  PendingChunks pending;
  pending.Add(Delta(1, "b", {1}));
  pending.Add(Delta(0, "a", {2}));
  pending.Add(Delta(1, "B", {3}));
  const v1::Chunk first = pending.Pop().chunk();
  EXPECT_EQ(first.index(), 1u);
  EXPECT_EQ(first.text(), "bB");
  EXPECT_EQ(pending.Pop().chunk().text(), "a");
}

TEST(PendingChunks, APoppedChunkDoesNotGrow) {
  PendingChunks pending;
  pending.Add(Delta(0, "a", {1}));
  EXPECT_EQ(pending.Pop().chunk().text(), "a");
  pending.Add(Delta(0, "b", {2}));
  EXPECT_EQ(pending.Pop().chunk().text(), "b");
}

TEST(PendingChunks, NoMessageGrowsPastTheChunkLimit) {
  PendingChunks pending;
  std::string sent;
  for (int i = 0; i < 1000; ++i) {
    const std::string text(1000, static_cast<char>('a' + i % 26));
    sent += text;
    pending.Add(Delta(0, text, {i}));
  }
  std::string received;
  while (!pending.empty()) {
    const v1::GenerateResponse message = pending.Pop();
    EXPECT_LE(message.ByteSizeLong(), kMaxChunkBytes);
    received += message.chunk().text();
  }
  EXPECT_EQ(received, sent);
}

TEST(PendingChunks, BytesAreNeverBelowTheWire) {
  PendingChunks pending;
  runtime::TokenDelta delta = Delta(63, std::string(300, 'x'), {0x7fffffff});
  runtime::TokenLogprobs logprobs;
  logprobs.logprob = -1;
  logprobs.top.assign(kMaxLogprobs, {0x7fffffff, -2.0f});
  delta.logprobs.push_back(logprobs);
  delta.finish = runtime::Finish{runtime::FinishReason::kStop, std::nullopt,
                                 std::string(kMaxStopStringBytes, 's')};
  pending.Add(delta);
  const size_t counted = pending.bytes();
  EXPECT_GE(counted, pending.Pop().ByteSizeLong());
}

TEST(PendingChunks, TheSummaryComesLast) {
  PendingChunks pending;
  pending.Add(Delta(0, "a", {1}));
  runtime::Summary summary;
  summary.usage.generated_tokens = 1;
  pending.AddSummary(summary);
  EXPECT_TRUE(pending.Pop().has_chunk());
  EXPECT_EQ(pending.Pop().summary().usage().generated_tokens(), 1u);
}

TEST(PendingChunks, ClearForgetsEverything) {
  PendingChunks pending;
  pending.Add(Delta(0, "a", {1}));
  pending.Clear();
  EXPECT_TRUE(pending.empty());
  EXPECT_EQ(pending.bytes(), 0u);
  pending.Add(Delta(0, "b", {2}));
  EXPECT_EQ(pending.Pop().chunk().text(), "b");
}

TEST(AppendDelta, CarriesLogprobsAndFinish) {
  runtime::TokenDelta delta = Delta(0, "", {5});
  delta.logprobs.push_back({-0.5f, {{5, -0.5f}, {6, -1.5f}}});
  delta.finish =
      runtime::Finish{runtime::FinishReason::kLength, std::nullopt, {}};
  v1::Choice choice;
  AppendDelta(delta, choice);
  EXPECT_FLOAT_EQ(choice.logprobs(0).top(1).logprob(), -1.5f);
  EXPECT_EQ(choice.logprobs(0).top(1).token_id(), 6u);
  EXPECT_EQ(choice.finish().reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(choice.finish().matched_case(), v1::Finish::MATCHED_NOT_SET);
}

}  // namespace
}  // namespace mla::server

#include "server/call_registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "absl/time/clock.h"

namespace mla::server {
namespace {

class FakeCall final : public WatchedCall {
 public:
  explicit FakeCall(absl::Time busy_since) : busy_since_(busy_since) {}
  absl::Time BusySince() const override { return busy_since_; }
  size_t PendingBytes() const override { return 100; }
  void Abandon() override { ++abandoned; }

  std::atomic<int> abandoned = 0;

 private:
  const absl::Time busy_since_;
};

class CallRegistryTest : public ::testing::Test {
 protected:
  prometheus::Registry registry_;
  ServerMetrics metrics_{registry_, serving::v1::Model()};
};

TEST_F(CallRegistryTest, OnlyACallThatMakesNoProgressIsAbandoned) {
  CallRegistry calls(absl::Seconds(30), metrics_);
  const auto idle = std::make_shared<FakeCall>(absl::InfiniteFuture());
  const auto writing = std::make_shared<FakeCall>(absl::Now());
  const auto stalled =
      std::make_shared<FakeCall>(absl::Now() - absl::Seconds(31));
  for (const auto& call : {idle, writing, stalled}) calls.Add(call);
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (stalled->abandoned == 0 && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_GT(stalled->abandoned, 0);
  EXPECT_EQ(writing->abandoned, 0);
  EXPECT_EQ(idle->abandoned, 0);
}

TEST_F(CallRegistryTest, PublishesHowManyAndHowSlow) {
  CallRegistry calls(absl::Hours(1), metrics_);
  const auto slow =
      std::make_shared<FakeCall>(absl::Now() - absl::Seconds(100));
  calls.Add(slow);
  calls.Add(std::make_shared<FakeCall>(absl::InfiniteFuture()));
  EXPECT_EQ(metrics_.streams_active().Value(), 2);
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (metrics_.pending_bytes().Value() == 0 && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(metrics_.pending_bytes().Value(), 200);
  EXPECT_GE(metrics_.write_stalled_seconds().Value(), 100);
  calls.Remove(slow.get());
  EXPECT_EQ(metrics_.streams_active().Value(), 1);
}

TEST_F(CallRegistryTest, KeepsACallUntilItIsRemoved) {
  CallRegistry calls(absl::Hours(1), metrics_);
  auto call = std::make_shared<FakeCall>(absl::InfiniteFuture());
  const std::weak_ptr<FakeCall> watched = call;
  FakeCall* const key = call.get();
  calls.Add(std::move(call));
  EXPECT_FALSE(watched.expired());
  EXPECT_FALSE(calls.WaitEmpty(absl::Now()));
  calls.Remove(key);
  EXPECT_TRUE(watched.expired());
  EXPECT_TRUE(calls.WaitEmpty(absl::Now()));
  calls.Remove(key);  // once more changes nothing
}

}  // namespace
}  // namespace mla::server

// The engine on real tiny checkpoints, MLA and GQA.
#include "runtime/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <thread>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/cpu_backend.h"
#include "runtime/loaded_model.h"
#include "runtime/metrics.h"
#include "runtime/weight_reader.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/failing_backend.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using ::mla::testing::CollectingSink;
using ::mla::testing::Sink;

// An engine over a golden model of its own.
struct EngineFixture : mla::testing::EngineFixture {
  EngineFixture(const std::string& path, int pool_tokens,
                kernels::DType weights = kernels::DType::kBF16)
      : EngineFixture(mla::testing::LoadGolden(path, weights), pool_tokens) {}
  EngineFixture(std::unique_ptr<LoadedModel> loaded, int pool_tokens)
      : mla::testing::EngineFixture(*loaded, pool_tokens),
        owned(std::move(loaded)) {}
  ~EngineFixture() { engine.reset(); }  // before the model goes

  std::unique_ptr<LoadedModel> owned;
};

std::vector<std::string> Models() {
  return mla::testing::GoldenModels({"qwen2", "deepseek_v2_lite", "minicpm3"});
}

TEST(Engine, TheSameRequestsGiveTheSameTokensAloneAndInAnyMix) {
  for (const std::string& path : Models()) {
    SCOPED_TRACE(path);
    mla::testing::ExpectSameTokensAloneAndInAnyMix(
        *mla::testing::LoadGolden(path, kernels::DType::kBF16));
  }
}

// Holds the engine at its first token until it is released, however fast the
// engine and slow the test.
class HeldSink : public mla::testing::CollectingSink {
 public:
  void OnTokens(TokenDelta delta) override {
    reached_.Notify();
    released_.WaitForNotification();
    CollectingSink::OnTokens(std::move(delta));
  }
  void WaitUntilHeld() { reached_.WaitForNotification(); }
  void Release() { released_.Notify(); }

 private:
  Notification reached_, released_;
};

std::shared_ptr<HeldSink> SubmitHeld(EngineFixture& f, Request request) {
  const auto sink = std::make_shared<HeldSink>();
  request.sink = sink;
  const absl::Status status = f.engine->Submit(std::move(request));
  EXPECT_TRUE(status.ok()) << status;
  return sink;
}

TEST(Engine, CancellationFreesBlocksAndEndsTheSinkOnce) {
  EngineFixture f(Models()[0], 1024);
  const auto sink = SubmitHeld(f, f.MakeRequest("a", 1, 20, 400));
  sink->WaitUntilHeld();
  EXPECT_TRUE(f.engine->Cancel("a"));
  sink->Release();
  EXPECT_TRUE(absl::IsCancelled(sink->Wait()));
  EXPECT_FALSE(f.engine->Cancel("a"));
  f.ExpectEmptyPool();
  EXPECT_EQ(sink->times_done(), 1);
  EXPECT_LT(sink->ids().size(), 400u);
}

TEST(Engine, ADeadlineEndsARequestWhereverItIs) {
  EngineFixture f(Models()[0], 512);
  f.options.max_running = 1;
  f.Start();
  Request running = f.MakeRequest("running", 1, 20, 450);
  Request queued = f.MakeRequest("queued", 2, 20, 10);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(50);
  running.deadline = queued.deadline = deadline;
  const auto a = SubmitHeld(f, running);
  const Sink b = f.Submit(queued);
  absl::SleepFor(deadline - absl::Now());
  a->Release();
  EXPECT_TRUE(absl::IsDeadlineExceeded(b->Wait()));
  EXPECT_TRUE(b->ids().empty());
  EXPECT_EQ(b->summary().usage.generated_tokens, 0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(a->Wait()));
  EXPECT_LT(a->ids().size(), 450u);
  f.ExpectEmptyPool();
}

TEST(Engine, ACancellationAfterTheDeadlineCountsAsTheDeadline) {
  EngineFixture f(Models()[0], 1024);
  Request late = f.MakeRequest("late", 1, 20, 400);
  late.deadline = absl::Now() - absl::Seconds(1);
  const Sink sink = f.Submit(late);
  f.engine->Cancel("late");
  EXPECT_TRUE(absl::IsDeadlineExceeded(sink->Wait()));
  EXPECT_EQ(f.metrics.deadline_drops->Value(), 1);
  EXPECT_EQ(f.metrics.cancellations->Value(), 0);
}

TEST(Engine, TheQueueIsBoundedInRequestsAndTokens) {
  EngineFixture f(Models()[0], 512);
  f.options.max_running = 1;
  f.options.max_queued_requests = 2;
  f.options.max_queued_tokens = 100;
  f.Start();
  const auto running = SubmitHeld(f, f.MakeRequest("running", 1, 10, 300));
  running->WaitUntilHeld();
  f.Submit(f.MakeRequest("first", 2, 60, 1));
  Request too_many_tokens = f.MakeRequest("second", 3, 60, 1);
  too_many_tokens.sink = running;
  EXPECT_TRUE(absl::IsResourceExhausted(f.engine->Submit(too_many_tokens)));
  f.Submit(f.MakeRequest("third", 4, 10, 1));
  Request too_many = f.MakeRequest("fourth", 5, 1, 1);
  too_many.sink = running;
  EXPECT_TRUE(absl::IsResourceExhausted(f.engine->Submit(too_many)));
  EXPECT_EQ(f.engine->Stats().waiting_requests, 2);
  EXPECT_EQ(f.engine->Stats().waiting_tokens, 70);
  f.engine->Cancel("running");
  running->Release();
  f.ExpectEmptyPool();
  EXPECT_EQ(f.engine->Stats().waiting_tokens, 0);
}

TEST(Engine, RefusesWhatCanNeverRun) {
  EngineFixture f(Models()[0], 128);
  const auto submit = [&](auto change) {
    Request r = f.MakeRequest("bad", 1, 10, 10);
    r.sink = std::make_shared<CollectingSink>();
    change(r);
    return f.engine->Submit(r).code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(submit([](Request& r) { r.prompt.clear(); }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.prompt[3] = -1; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.prompt[3] = 1 << 30; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.stop.max_tokens = 119; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.stop.max_tokens = 0; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.sampling.n = 0; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) { r.stop.stop_token_ids = {-5}; }), kInvalid);
  EXPECT_EQ(submit([](Request& r) {
              r.sampling.logit_bias = {{1 << 29, 1.f}};
            }),
            kInvalid);
  EXPECT_EQ(f.engine->max_request_tokens(), 128);
  const Sink ok = f.Submit(f.MakeRequest("ok", 1, 10, 118));
  EXPECT_TRUE(ok->Wait().ok());
}

TEST(Engine, AnIdIsUniqueWhileItLivesAndDrainRefusesNewOnes) {
  EngineFixture f(Models()[0], 1024);
  Request request = f.MakeRequest("same", 1, 10, 50);
  const auto first = SubmitHeld(f, request);
  request.sink = first;
  EXPECT_TRUE(absl::IsAlreadyExists(f.engine->Submit(request)));
  f.engine->Drain();
  request.id = "other";
  EXPECT_TRUE(absl::IsUnavailable(f.engine->Submit(request)));
  first->Release();
  EXPECT_TRUE(first->Wait().ok());
  EXPECT_EQ(first->ids().size(), 50u);
  EXPECT_TRUE(f.engine->WaitIdle(absl::Now() + absl::Seconds(5)));
}

TEST(Engine, DestructionEndsWhatRuns) {
  EngineFixture f(Models()[0], 1024);
  const auto sink = SubmitHeld(f, f.MakeRequest("a", 1, 10, 500));
  sink->WaitUntilHeld();
  std::thread release([&] {
    absl::SleepFor(absl::Milliseconds(50));  // for the line below to begin
    sink->Release();
  });
  f.engine.reset();
  release.join();
  EXPECT_TRUE(absl::IsCancelled(sink->Wait()));
}

TEST(Engine, SeveralChoicesShareThePromptsBlocksAndDiffer) {
  for (const std::string& path : Models()) {
    EngineFixture f(path, 2048);
    Request r = f.MakeRequest("n", 1, 70, 20);
    r.sampling.n = 4;
    r.sampling.temperature = 1.0f;
    r.sampling.seed = 5;
    const Sink sink = f.Submit(r);
    ASSERT_TRUE(sink->Wait().ok());
    EXPECT_EQ(sink->summary().usage.generated_tokens, 80);
    EXPECT_EQ(sink->summary().usage.prompt_tokens, 70);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(sink->ids(i).size(), 20u);
    EXPECT_NE(sink->ids(0), sink->ids(1));
    // 70 tokens fill four blocks of 16, which three choices found.
    EXPECT_EQ(f.metrics.prefix_cache_hits_tokens->Value(), 3 * 64);

    // The first choice is the one that a request for one gives.
    r.id = "one";
    r.sampling.n = 1;
    const Sink one = f.Submit(r);
    ASSERT_TRUE(one->Wait().ok());
    EXPECT_EQ(one->ids(), sink->ids(0));
    EXPECT_EQ(one->summary().usage.cached_tokens, 64);
    f.ExpectEmptyPool();
  }
}

TEST(Engine, APrefixFoundInTheCacheChangesNoToken) {
  for (const std::string& path : Models()) {
    EngineFixture f(path, 2048);
    Request r = f.MakeRequest("cold", 3, 100, 30);
    const Sink cold = f.Submit(r);
    ASSERT_TRUE(cold->Wait().ok());
    EXPECT_EQ(cold->summary().usage.cached_tokens, 0);
    EXPECT_GT(f.engine->Stats().cache.cached_blocks, 0);
    r.id = "warm";
    const Sink warm = f.Submit(r);
    ASSERT_TRUE(warm->Wait().ok());
    EXPECT_EQ(warm->summary().usage.cached_tokens, 96);
    EXPECT_EQ(warm->ids(), cold->ids());
    EXPECT_EQ(f.engine->FlushCache(), 6);
    r.id = "flushed";
    const Sink flushed = f.Submit(r);
    ASSERT_TRUE(flushed->Wait().ok());
    EXPECT_EQ(flushed->summary().usage.cached_tokens, 0);
    EXPECT_EQ(flushed->ids(), cold->ids());
  }
}

TEST(Engine, LogprobsAreOfTheModelsOwnDistribution) {
  EngineFixture f(Models()[0], 1024, kernels::DType::kF32);
  Request r = f.MakeRequest("l", 3, 20, 8);
  r.sampling.logprobs = 5;
  const Sink sink = f.Submit(r);
  ASSERT_TRUE(sink->Wait().ok());
  const std::vector<TokenLogprobs> logprobs = sink->logprobs();
  ASSERT_EQ(logprobs.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const TokenLogprobs& l = logprobs[i];
    ASSERT_EQ(l.top.size(), 5u);
    EXPECT_EQ(l.top[0].first, sink->ids()[i]);  // greedy
    EXPECT_EQ(l.top[0].second, l.logprob);
    EXPECT_LE(l.logprob, 0);
    for (int j = 1; j < 5; ++j) EXPECT_LE(l.top[j].second, l.top[j - 1].second);
  }
}

TEST(Engine, StopsAtIdsStringsAndEndsOfSequence) {
  EngineFixture f(Models()[0], 1024);
  const Sink plain = f.Submit(f.MakeRequest("plain", 9, 20, 60));
  ASSERT_TRUE(plain->Wait().ok());
  EXPECT_EQ(plain->finish().reason, FinishReason::kLength);
  const std::vector<int32_t> ids = plain->ids();

  Request r = f.MakeRequest("id", 9, 20, 60);
  r.stop.stop_token_ids = {ids[10]};
  const Sink by_id = f.Submit(r);
  ASSERT_TRUE(by_id->Wait().ok());
  const size_t at = std::find(ids.begin(), ids.end(), ids[10]) - ids.begin();
  EXPECT_EQ(by_id->ids().size(), at + 1);
  EXPECT_EQ(by_id->finish().reason, FinishReason::kStop);
  EXPECT_EQ(by_id->finish().stop_token_id, ids[10]);

  // Before min_tokens the id is not drawn.
  r.id = "min";
  r.stop.min_tokens = 20;
  const Sink later = f.Submit(r);
  ASSERT_TRUE(later->Wait().ok());
  EXPECT_GE(later->ids().size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_NE(later->ids()[i], ids[10]);

  const std::string text = plain->text();
  ASSERT_GT(text.size(), 30u);
  Request s = f.MakeRequest("string", 9, 20, 60);
  // A string that spans tokens: from the middle of the text.
  size_t begin = text.size() / 2;
  while ((text[begin] & 0xc0) == 0x80) ++begin;
  size_t end = begin + 6;
  while (end < text.size() && (text[end] & 0xc0) == 0x80) ++end;
  s.stop.stop = {text.substr(begin, end - begin), "never written"};
  const Sink by_string = f.Submit(s);
  ASSERT_TRUE(by_string->Wait().ok());
  EXPECT_EQ(by_string->text(), text.substr(0, text.find(s.stop.stop[0])));
  EXPECT_EQ(by_string->finish().stop_string, s.stop.stop[0]);
}

TEST(Engine, TimingsAndMetricsAddUp) {
  EngineFixture f(Models()[0], 1024);
  const Sink sink = f.Submit(f.MakeRequest("a", 1, 33, 12));
  ASSERT_TRUE(sink->Wait().ok());
  const Timings& t = sink->summary().timings;
  EXPECT_GE(t.queue, absl::ZeroDuration());
  EXPECT_GE(t.ttft, t.queue);
  EXPECT_GE(t.total, t.ttft);
  EXPECT_EQ(f.metrics.generation_tokens->Value(), 12);
  EXPECT_EQ(f.metrics.prompt_tokens_computed->Value(), 33);
  double states = 0, total_blocks = 0;
  for (const prometheus::MetricFamily& family : f.metrics.Collect()) {
    if (family.name != "mla_kv_bytes") continue;
    for (const auto& metric : family.metric) states += metric.gauge.value;
  }
  const CacheStats c = f.engine->Stats().cache;
  total_blocks = static_cast<double>(c.total_blocks);
  EXPECT_EQ(states, total_blocks * c.block_bytes);
  // Layers x row width x 2 bytes, from the model's own config.
  EXPECT_EQ(c.bytes_per_token,
            f.model.config.num_layers *
                f.model.config.attention[0].Layout().row_width * 2);
}

// The model at `path` on a device that fails after so many steps.
std::unique_ptr<LoadedModel> OnAFailingDevice(const std::string& path,
                                              int steps) {
  std::unique_ptr<LoadedModel> loaded =
      mla::testing::LoadGolden(path, kernels::DType::kBF16);
  const auto checkpoint = Checkpoint::Open(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<mla::testing::FailingBackend>(
      NewCpuBackend(kernels::Isa::kPortable, 1),
      std::make_shared<std::atomic<int>>(steps)));
  auto model = ParallelModel::Load(loaded->config, WeightReader(**checkpoint),
                                   std::move(backends),
                                   loaded->model->options(), [](double) {});
  EXPECT_TRUE(model.ok()) << model.status();
  loaded->model = *std::move(model);
  return loaded;
}

// Nothing pretends to go on: who runs and who waits is told at once, and so is
// who comes.
TEST(Engine, AFailedDeviceEndsEverything) {
  EngineFixture f(OnAFailingDevice(Models()[0], 7), 128);
  std::atomic<int> failures = 0;
  Notification failed;
  f.options.on_failure = [&](const absl::Status& why) {
    EXPECT_TRUE(absl::IsUnavailable(why)) << why;
    ++failures;
    failed.Notify();
  };
  f.Start();
  EXPECT_TRUE(f.engine->status().ok());
  const auto held = SubmitHeld(f, f.MakeRequest("held", 0, 20, 40));
  held->WaitUntilHeld();
  std::vector<Sink> sinks = {held};
  for (int i = 1; i < 6; ++i) {  // two fit the pool, the others wait
    sinks.push_back(f.Submit(f.MakeRequest(absl::StrCat("r", i), i, 20, 40)));
  }
  held->Release();
  const std::string why = "the device failed: unspecified launch failure";
  for (const Sink& sink : sinks) {
    const absl::Status status = sink->Wait();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_EQ(status.message(), why);
    EXPECT_EQ(sink->times_done(), 1);
  }
  failed.WaitForNotification();
  EXPECT_EQ(f.engine->status().message(), why);
  Request late = f.MakeRequest("late", 9, 20, 4);
  late.sink = std::make_shared<CollectingSink>();
  EXPECT_EQ(f.engine->Submit(std::move(late)).message(), why);
  f.ExpectEmptyPool();
  EXPECT_EQ(failures, 1);
}

}  // namespace
}  // namespace mla::runtime

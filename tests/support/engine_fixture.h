// An engine over a loaded model, with a pool of a given number of tokens, and
// the experiment that shows its results do not depend on the batch.
#ifndef MLA_TESTS_SUPPORT_ENGINE_FIXTURE_H_
#define MLA_TESTS_SUPPORT_ENGINE_FIXTURE_H_

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/engine.h"
#include "runtime/loaded_model.h"
#include "runtime/metrics.h"
#include "tests/support/collecting_sink.h"

namespace mla::testing {

using Sink = std::shared_ptr<CollectingSink>;

class EngineFixture {
 public:
  static constexpr int kBlockTokens = 16;

  EngineFixture(const runtime::LoadedModel& loaded, int pool_tokens)
      : model(loaded), metrics("test") {
    options.block_tokens = kBlockTokens;
    options.max_running = 32;
    options.max_step_tokens = 64;
    options.kv_cache_bytes =
        model.model->BlockBytes(options.kv_dtype, pool_tokens);
    Start();
  }

  void Start() {
    engine.reset();
    auto created = runtime::Engine::Create(options, model, metrics);
    ASSERT_TRUE(created.ok()) << created.status();
    engine = *std::move(created);
  }

  runtime::Request MakeRequest(const std::string& id, int seed,
                               int prompt_tokens, int max_tokens) const {
    runtime::Request r;
    r.id = id;
    std::mt19937 random(seed);
    for (int i = 0; i < prompt_tokens; ++i) {
      r.prompt.push_back(random() % model.config.vocab_size);
    }
    r.stop.max_tokens = max_tokens;
    r.stop.ignore_eos = true;
    r.sampling.temperature = 0;
    return r;
  }

  Sink Submit(runtime::Request r) {
    auto sink = std::make_shared<CollectingSink>();
    r.sink = sink;
    const absl::Status status = engine->Submit(std::move(r));
    EXPECT_TRUE(status.ok()) << status;
    return sink;
  }

  void ExpectEmptyPool() {
    ASSERT_TRUE(engine->WaitIdle(absl::Now() + absl::Seconds(60)));
    engine->FlushCache();
    const runtime::CacheStats c = engine->Stats().cache;
    EXPECT_EQ(c.free_blocks, c.total_blocks);
    EXPECT_EQ(c.active_tokens, 0);
  }

  const runtime::LoadedModel& model;
  runtime::Metrics metrics;
  runtime::EngineOptions options;
  std::unique_ptr<runtime::Engine> engine;
};

// 32 requests, each alone; then all at once in a pool that holds a few of them,
// arriving at random while others come and are cancelled: the same tokens, and
// a pool that is empty in the end.
inline void ExpectSameTokensAloneAndInAnyMix(
    const runtime::LoadedModel& model) {
  EngineFixture alone(model, 4096);
  std::vector<runtime::Request> requests;
  std::mt19937 random(7);
  for (int i = 0; i < 32; ++i) {
    runtime::Request r = alone.MakeRequest(
        absl::StrCat("r", i), i, 1 + random() % 100, 1 + random() % 80);
    if (i % 3 != 0) {  // two in three draw at random, by their own seed
      r.sampling.temperature = 1.0f;
      r.sampling.top_p = 0.9f;
      r.sampling.seed = 1000 + i;
      r.sampling.repetition_penalty = 1.1f;
    }
    requests.push_back(r);
  }
  std::vector<std::vector<int32_t>> expected;
  for (const runtime::Request& r : requests) {
    const Sink sink = alone.Submit(r);
    ASSERT_TRUE(sink->Wait().ok());
    EXPECT_EQ(sink->ids().size(), size_t(r.stop.max_tokens));
    expected.push_back(sink->ids());
  }
  alone.engine.reset();

  EngineFixture mixed(model, 192);
  std::vector<Sink> sinks;
  const auto pause = [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
  };
  for (int i = 0; i < 32; ++i) {
    pause();
    sinks.push_back(mixed.Submit(requests[i]));
    const std::string noise = absl::StrCat("noise", i);
    mixed.Submit(mixed.MakeRequest(noise, 500 + i, 1 + random() % 100, 90));
    if (i % 2 == 0) pause();
    mixed.engine->Cancel(noise);
  }
  int preemptions = 0;
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(sinks[i]->Wait().ok());
    EXPECT_EQ(sinks[i]->ids(), expected[i]) << "request " << i;
    preemptions += sinks[i]->summary().timings.preemptions;
  }
  EXPECT_GT(preemptions, 0) << "the pool was meant to be too small";
  mixed.ExpectEmptyPool();
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_ENGINE_FIXTURE_H_

// The engine over the CUDA backend, executed on the host: a device's memory and
// its failures, and tokens that do not depend on who else is served.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "absl/synchronization/notification.h"
#include "cuda_host/control.h"
#include "tests/support/cuda_host/golden_on_host.h"
#include "tests/support/engine_fixture.h"

namespace mla::runtime {
namespace {

using mla::testing::EngineFixture;
using mla::testing::Sink;

class EngineCuda : public ::testing::Test {
 protected:
  EngineCuda() {
    cuda_host::ResetDevice();
    cuda_host::SetHostAccessTrap(false);
  }
  static std::unique_ptr<LoadedModel> Load(const std::string& name) {
    const auto paths = mla::testing::GoldenModels({name});
    return paths.empty() ? nullptr
                         : mla::testing::LoadOnHost(paths[0], true, 64);
  }
};

TEST_F(EngineCuda, TokensAreTheSameAloneAndInAnyMix) {
  const auto model = Load("minicpm3");
  ASSERT_NE(model, nullptr);
  mla::testing::ExpectSameTokensAloneAndInAnyMix(*model);
  EXPECT_GT(cuda_host::GetCounters().graph_launches, 0);
}

// Every way to ask for tokens, by a device that begins the next step before the
// last one's are known, and by one that waits.
TEST_F(EngineCuda, TokensAreTheSameWithAStepAheadAndWithout) {
  struct Result {
    std::vector<int32_t> ids;
    std::vector<TokenLogprobs> logprobs;
  };
  std::vector<Result> found[2];
  for (const bool ahead : {false, true}) {
    cuda_host::ResetDevice();
    const auto paths = mla::testing::GoldenModels({"minicpm3"});
    ASSERT_FALSE(paths.empty());
    const auto model = mla::testing::LoadOnHost(paths[0], true, 64, 1, ahead);
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->model->runs_ahead(), ahead);
    EngineFixture f(*model, 1024);
    std::vector<Sink> sinks;
    for (int i = 0; i < 9; ++i) {
      Request r = f.MakeRequest(absl::StrCat("r", i), i, 10 + 3 * i, 12 + i);
      SamplingParams& s = r.sampling;
      s.temperature = i % 3 == 0 ? 0.0f : 1.2f;
      s.seed = i;
      s.logprobs = i;
      if (i % 2 == 0) s.n = 2;
      if (i == 1) s.top_k = 5;
      if (i == 2) s.frequency_penalty = 2.0f;
      if (i == 3) s.repetition_penalty = 1.5f;
      if (i == 4) s.presence_penalty = 2.0f;
      if (i == 5) s.min_p = 0.2f;
      if (i == 6) r.stop.max_tokens = 1;
      if (i >= 7) {  // ends early, one row later on the device
        s.temperature = 0.0f;
        for (int id = 0; id < model->config.vocab_size; id += 3) {
          r.stop.stop_token_ids.push_back(id);
        }
        r.stop.min_tokens = i - 5;
      }
      sinks.push_back(f.Submit(std::move(r)));
    }
    for (const Sink& sink : sinks) {
      ASSERT_TRUE(sink->Wait().ok());
      for (int choice : {0, 1}) {
        found[ahead].push_back({sink->ids(choice), sink->logprobs(choice)});
      }
    }
    f.ExpectEmptyPool();
    f.engine.reset();
  }
  for (size_t i = 0; i < found[0].size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(found[1][i].ids, found[0][i].ids);
    ASSERT_EQ(found[1][i].logprobs.size(), found[0][i].logprobs.size());
    for (size_t t = 0; t < found[0][i].logprobs.size(); ++t) {
      EXPECT_EQ(found[1][i].logprobs[t].logprob,
                found[0][i].logprobs[t].logprob);
      EXPECT_EQ(found[1][i].logprobs[t].top, found[0][i].logprobs[t].top);
    }
  }
  EXPECT_LT(found[1][2 * 7].ids.size(), 19u) << "was meant to end early";
}

TEST_F(EngineCuda, ACacheOfNoSizeTakesNineTenthsOfWhatIsFree) {
  cuda_host::SetDeviceMemory(size_t{128} << 20);
  const auto model = Load("minicpm3");
  ASSERT_NE(model, nullptr);
  const int64_t available = model->model->DefaultCacheBytes();
  EXPECT_LT(available, int64_t{116} << 20);  // weights are there
  EXPECT_GT(available, int64_t{32} << 20);
  EngineFixture f(*model, 64);
  f.options.kv_cache_bytes = 0;
  f.Start();
  const CacheStats c = f.engine->Stats().cache;
  EXPECT_LE(c.total_blocks * c.block_bytes, available);
  EXPECT_GT(c.total_blocks * c.block_bytes, available * 8 / 10);
}

TEST_F(EngineCuda, ACacheThatDoesNotFitIsRefused) {
  cuda_host::SetDeviceMemory(size_t{128} << 20);
  const auto model = Load("minicpm3");
  ASSERT_NE(model, nullptr);
  EngineFixture f(*model, 64);
  f.engine.reset();
  f.options.kv_cache_bytes = int64_t{1} << 30;
  const absl::Status status =
      Engine::Create(f.options, *model, f.metrics).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  // The device is well, and a smaller one fits.
  f.options.kv_cache_bytes = int64_t{8} << 20;
  f.Start();
  EXPECT_TRUE(f.Submit(f.MakeRequest("r", 0, 5, 3))->Wait().ok());
}

TEST_F(EngineCuda, WeightsThatDoNotFitAreRefused) {
  cuda_host::SetDeviceMemory(size_t{36} << 20);  // products' workspace has 32
  const auto paths = mla::testing::GoldenModels({"minicpm3"});
  ASSERT_FALSE(paths.empty());
  LoadOptions options;
  options.backend.name = kCudaBackendName;
  const absl::Status status = LoadedModel::Load(paths[0], options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(EngineCuda, WeightsInFloatAreRefused) {
  const auto paths = mla::testing::GoldenModels({"minicpm3"});
  ASSERT_FALSE(paths.empty());
  LoadOptions options;
  options.backend.name = kCudaBackendName;
  options.model.weights_dtype = kernels::DType::kF32;
  EXPECT_EQ(LoadedModel::Load(paths[0], options).status().message(),
            "weights in f32 on backend 'cuda-host': its products are of bf16");
}

// Whatever fails on the device, as it runs or when it is asked to, in recorded
// work or not: all requests end, nobody is served any more.
TEST_F(EngineCuda, AFailedDeviceEndsEverything) {
  for (int kind = 0; kind < 4; ++kind) {
    SCOPED_TRACE(kind);
    cuda_host::ResetDevice();
    const auto model = Load("minicpm3");
    ASSERT_NE(model, nullptr);
    EngineFixture f(*model, 512);
    absl::Notification failed;
    std::atomic<int> failures = 0;
    f.options.on_failure = [&](const absl::Status& why) {
      EXPECT_TRUE(absl::IsUnavailable(why)) << why;
      if (++failures == 1) failed.Notify();
    };
    f.Start();
    ASSERT_TRUE(f.Submit(f.MakeRequest("before", 0, 20, 12))->Wait().ok());
    if (kind == 0) cuda_host::FailKernel(40);
    if (kind == 1) cuda_host::FailLaunch(40, cudaErrorLaunchOutOfResources);
    if (kind == 2) cuda_host::FailMatmul(5, CUBLAS_STATUS_EXECUTION_FAILED);
    if (kind == 3) {
      cuda_host::FailCall(1, cudaErrorIllegalAddress, "cudaGraphLaunch");
    }
    std::vector<Sink> sinks;
    for (int i = 0; i < 3; ++i) {
      sinks.push_back(f.Submit(f.MakeRequest(absl::StrCat("r", i), i, 20, 40)));
    }
    for (const Sink& sink : sinks) {
      const absl::Status status = sink->Wait();
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(sink->times_done(), 1);
    }
    failed.WaitForNotification();
    EXPECT_FALSE(f.engine->status().ok());
    EXPECT_EQ(failures, 1);
  }
}

}  // namespace
}  // namespace mla::runtime

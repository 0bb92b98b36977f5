// Models divided among ranks: what one rank computes, several do, in the same
// bounds; the same bits in any batch; and a rank that fails holds up nobody.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/cpu_backend.h"
#include "runtime/host_ranks.h"
#include "runtime/shard.h"
#include "runtime/verify/model_golden.h"
#include "runtime/verify/sequence_runner.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/failing_backend.h"
#include "tests/support/golden_models.h"
#include "tests/support/random.h"

namespace mla::runtime {
namespace {

using kernels::DType;
using mla::testing::EngineFixture;
using mla::testing::GoldenModels;
using mla::testing::kFamilies;
using mla::testing::LoadGolden;
using mla::testing::Sink;
using ::testing::HasSubstr;

absl::Status LoadStatus(const std::string& path, int ranks) {
  LoadOptions options;
  options.backend.name = "cpu";
  options.backend.ranks = ranks;
  return LoadedModel::Load(path, options).status();
}

TEST(HostRanks, EachHasTheSumInTheOrderOfTheRanks) {
  constexpr int kRanks = 3, kRows = 5, kCols = 7;
  HostRanks ranks(kRanks);
  std::vector<std::vector<float>> x, given;
  for (int r = 0; r < kRanks; ++r) {
    x.push_back(mla::testing::RandomFloats(kRows * kCols, r));
  }
  given = x;
  std::vector<std::thread> threads;
  for (int r = 0; r < kRanks; ++r) {
    threads.emplace_back([&, r] {
      for (int times = 0; times < 100; ++times) {
        x[r] = given[r];
        ranks.Sum({r, kRanks}, {x[r].data(), kRows, kCols, kCols});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRows * kCols; ++i) {
    const float sum = given[0][i] + given[1][i] + given[2][i];
    for (int r = 0; r < kRanks; ++r) EXPECT_EQ(x[r][i], sum);
  }
  EXPECT_TRUE(ranks.status().ok());
}

TEST(HostRanks, NobodyWaitsForOneThatHasGivenUp) {
  HostRanks ranks(3);
  std::vector<float> x(8, 1.0f);
  std::thread waits([&] { ranks.Sum({0, 3}, {x.data(), 2, 4, 4}); });
  ranks.Abandon(absl::InternalError("first"));
  waits.join();
  ranks.Abandon(absl::InternalError("second"));
  EXPECT_EQ(ranks.status().message(), "first");
  ranks.Sum({1, 3}, {x.data(), 2, 4, 4});  // returns
}

TEST(RankThreads, EachRankHasAThreadAndTheFirstErrorIsThrown) {
  RankThreads threads(3);
  std::vector<std::thread::id> ids(3), again(3);
  threads.Run([&](int rank) { ids[rank] = std::this_thread::get_id(); });
  threads.Run([&](int rank) { again[rank] = std::this_thread::get_id(); });
  EXPECT_EQ(ids, again);
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[2]);
  const auto fail = [](int rank) {
    if (rank > 0) throw std::runtime_error(std::to_string(rank));
  };
  try {
    threads.Run(fail);
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "1");
  }
  threads.Run([](int) {});
}

// Every family in the same bounds as on one rank, or refused for what cannot be
// divided.
TEST(TensorParallel, EveryFamilyMatchesTransformersOrIsRefused) {
  for (const std::string& path : GoldenModels(kFamilies)) {
    const auto whole = LoadGolden(path);
    ASSERT_NE(whole, nullptr);
    for (const int ranks : {2, 3, 4}) {
      SCOPED_TRACE(path + " on " + std::to_string(ranks));
      bool divides = true;
      for (const AttentionConfig& a : whole->config.attention) {
        divides = divides && a.heads % ranks == 0;
        if (a.kind == AttentionKind::kGqa) {
          divides =
              divides && (a.kv_heads % ranks == 0 || ranks % a.kv_heads == 0);
        }
      }
      for (int i = 0; i < whole->config.num_layers; ++i) {
        if (whole->config.IsDense(i)) {
          divides = divides && whole->config.intermediate_size % ranks == 0;
        }
      }
      if (whole->config.moe) {
        divides = divides && whole->config.moe->intermediate_size % ranks == 0;
        divides =
            divides && whole->config.moe->shared_intermediate_size % ranks == 0;
      }
      if (!divides) {
        const absl::Status status = LoadStatus(path, ranks);
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()),
                    HasSubstr("cannot be divided among " +
                              std::to_string(ranks) + " ranks"));
        continue;
      }
      const auto model = LoadGolden(path, DType::kF32, "cpu", ranks);
      ASSERT_NE(model, nullptr);
      EXPECT_EQ(model->model->ranks(), ranks);
      Report report;
      const absl::Status status =
          VerifyModelGolden(*model, path, {DType::kF32, 16}, report);
      ASSERT_TRUE(status.ok()) << status;
      // Logits, top logits and greedy tokens of six prompts, activations.
      EXPECT_GE(report.checks.size(), 18u + 4);
      for (const Check& check : report.checks) {
        EXPECT_TRUE(check.passed())
            << check.name << ": error " << check.error << ", bound "
            << check.bound << ", " << check.detail;
      }
    }
  }
}

// What a tap makes every rank follow: experts and tokens that another model
// chose.
TEST(TensorParallel, EveryRankFollowsTheFirstOnesChoices) {
  for (const std::string& path : GoldenModels(
           {"deepseek_v2_lite", "deepseek_v32_sparse", "longcat_flash"})) {
    SCOPED_TRACE(path);
    const auto in_float = LoadGolden(path);
    const auto model = LoadGolden(path, DType::kBF16, "cpu", 2);
    ASSERT_NE(model, nullptr);
    Report report;
    const absl::Status status = VerifyModelGolden(
        *model, path, {DType::kBF16, 16, in_float->model.get()}, report);
    ASSERT_TRUE(status.ok()) << status;
    for (const Check& check : report.checks) {
      EXPECT_TRUE(check.passed())
          << check.name << ": error " << check.error << ", bound "
          << check.bound << ", " << check.detail;
    }
  }
}

// A row's bytes where ranks have KV heads of their own, share one, or all have
// the whole latent.
TEST(TensorParallel, RanksCacheTheirGroupsOnly) {
  for (const std::string& path : GoldenModels({"qwen2", "deepseek_v2_lite"})) {
    const auto one = LoadGolden(path);
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(path + " on " + std::to_string(ranks));
      const auto model = LoadGolden(path, DType::kF32, "cpu", ranks);
      ASSERT_NE(model, nullptr);
      const AttentionConfig& a = one->config.attention[0];
      const int copies = a.kind == AttentionKind::kMla
                             ? ranks
                             : std::max(1, ranks / a.kv_heads);
      EXPECT_EQ(model->model->KvBytesPerToken(DType::kBF16),
                copies * one->model->KvBytesPerToken(DType::kBF16));
      const EngineFixture f(*model, 256);
      const CacheStats c = f.engine->Stats().cache;
      EXPECT_EQ(c.total_blocks, 256 / EngineFixture::kBlockTokens);
      EXPECT_EQ(c.block_bytes,
                copies * one->model->BlockBytes(DType::kBF16,
                                                EngineFixture::kBlockTokens));
    }
  }
}

// Each token that the engine gives on two ranks is the likeliest on one, up to
// what two logits of that row may be off.
TEST(TensorParallel, TheEnginesTokensAreThoseOfOneRank) {
  constexpr int kPrompt = 40, kGenerated = 24;
  for (const std::string& path :
       GoldenModels({"qwen2", "deepseek_v2_lite", "minicpm3"})) {
    SCOPED_TRACE(path);
    const auto one = LoadGolden(path);
    const auto two = LoadGolden(path, DType::kF32, "cpu", 2);
    ASSERT_NE(two, nullptr);
    EngineFixture f(*two, 1024);
    f.options.kv_dtype = DType::kF32;
    f.Start();
    const Request request = f.MakeRequest("r", 3, kPrompt, kGenerated);
    const Sink sink = f.Submit(request);
    ASSERT_TRUE(sink->Wait().ok());
    const std::vector<int32_t> ids = sink->ids();
    ASSERT_EQ(ids.size(), size_t{kGenerated});

    auto runner = SequenceRunner::Create(*one->model, DType::kF32, 16,
                                         kPrompt + kGenerated);
    ASSERT_TRUE(runner.ok()) << runner.status();
    const int vocab = one->config.vocab_size;
    std::vector<float> logits;
    (*runner)->Prompt(request.prompt, kPrompt - 1, [&](int, const float* row) {
      logits.assign(row, row + vocab);
    });
    for (const int32_t id : ids) {
      double norm = 0;
      for (const float x : logits) norm += double{x} * x;
      const float best = *std::max_element(logits.begin(), logits.end());
      // Of each path a row's error is bounded as ToleranceFor says.
      EXPECT_GE(logits[id], best - 2 * std::sqrt(2.0) * 1e-4 * std::sqrt(norm));
      const float* next = (*runner)->Generate(id);
      logits.assign(next, next + vocab);
    }
  }
}

TEST(TensorParallel, TokensAreTheSameAloneAndInAnyMix) {
  const auto paths = GoldenModels({"deepseek_v2_lite"});
  const auto model = LoadGolden(paths[0], DType::kBF16, "cpu", 2);
  ASSERT_NE(model, nullptr);
  mla::testing::ExpectSameTokensAloneAndInAnyMix(*model);
}

// Fails within a step, and does not come to meet the others any more.
class FailsInAStep : public mla::testing::FailingBackend {
 public:
  FailsInAStep(std::unique_ptr<Backend> real, int sums_left)
      : FailingBackend(std::move(real),
                       std::make_shared<std::atomic<int>>(1 << 30)),
        sums_left_(sums_left) {}
  void AllReduce(Rows x) override {
    if (sums_left_-- == 0) Fail();
    FailingBackend::AllReduce(x);
  }

 private:
  int sums_left_;
};

// Two ranks, of which one fails as a device does: it computes nothing any more,
// nor says so before the step's end.
TEST(TensorParallel, ARankThatFailsEndsEverything) {
  const auto paths = GoldenModels({"qwen2"});
  const auto checkpoint = Checkpoint::Open(paths[0]);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  for (const int failing : {0, 1}) {
    SCOPED_TRACE(failing);
    auto loaded = LoadGolden(paths[0], DType::kBF16);
    const auto ranks = std::make_shared<HostRanks>(2);
    std::vector<std::unique_ptr<Backend>> backends;
    for (int rank = 0; rank < 2; ++rank) {
      backends.push_back(
          NewCpuBackend(kernels::Isa::kPortable, 1, {rank, 2}, ranks));
    }
    backends[failing] =
        std::make_unique<FailsInAStep>(std::move(backends[failing]), 27);
    auto model = ParallelModel::Load(loaded->config, WeightReader(**checkpoint),
                                     std::move(backends),
                                     loaded->model->options(), [](double) {});
    ASSERT_TRUE(model.ok()) << model.status();
    loaded->model = *std::move(model);
    EngineFixture f(*loaded, 512);
    std::vector<Sink> sinks;
    for (int i = 0; i < 4; ++i) {
      sinks.push_back(f.Submit(f.MakeRequest(absl::StrCat("r", i), i, 20, 40)));
    }
    for (const Sink& sink : sinks) {
      const absl::Status status = sink->Wait();
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(status.message(),
                "the device failed: unspecified launch failure");
    }
    EXPECT_FALSE(f.engine->status().ok());
  }
}

TEST(TensorParallel, NumbersOfRanksThatCannotBe) {
  const auto paths = GoldenModels({"qwen2"});
  EXPECT_EQ(LoadStatus(paths[0], 0).message(),
            "tensor parallelism over 0 ranks, must be 1 to 64");
  EXPECT_EQ(LoadStatus(paths[0], 65).message(),
            "tensor parallelism over 65 ranks, must be 1 to 64");
  EXPECT_EQ(LoadStatus(paths[0], 3).message(),
            "tensor parallelism over 3 ranks: layer 0, attention 'gqa': "
            "num_attention_heads 4 cannot be divided among 3 ranks");
}

}  // namespace
}  // namespace mla::runtime

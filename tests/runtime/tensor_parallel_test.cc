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
        std::cout << path << " " << status << "\n";
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

}  // namespace
}  // namespace mla::runtime

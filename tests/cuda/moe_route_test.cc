// Routing on a device against its definition in double precision, ties, NaN.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "cuda_host/moe_fixture.h"
#include "kernels/cuda/launch/moe.h"
#include "tests/support/random.h"
#include "tests/support/route_answer.h"

namespace mla::kernels::cuda {
namespace {

using Scoring = RouterArgs::Scoring;
using mla::testing::Answer;
using mla::testing::Number;
using mla::testing::RandomFloats;
using mla::testing::Router;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class MoeRoute : public cuda_host::MoeFixture {
 protected:
  // Experts, then weights' bits, of rows that lie apart.
  static std::vector<int32_t> Route(const Router& router,
                                    const std::vector<float>& logits,
                                    int spare = 5) {
    const int rows = static_cast<int>(logits.size()) / router.experts;
    const size_t pairs = size_t(rows) * router.args.top_k;
    RouteArgs args;
    args.logits =
        RowsToDevice(logits, rows, router.experts, router.experts + spare);
    const size_t elements = size_t(rows) * args.logits.stride;
    const std::vector<float> before = ToHost(args.logits.data, elements);
    args.router = router.args;
    if (!router.correction.empty()) {
      args.router.correction = ToDevice(router.correction);
    }
    args.experts = ToDevice(std::vector<int32_t>(pairs + 1, kKeptInt));
    args.weights = ToDevice(std::vector<float>(pairs + 1, kKept));
    EXPECT_EQ(LaunchRoute(args, nullptr), cudaSuccess);
    std::vector<int32_t> found = ToHost(args.experts, pairs + 1);
    const std::vector<float> weights = ToHost(args.weights, pairs + 1);
    EXPECT_EQ(found.back(), kKeptInt);
    EXPECT_EQ(weights.back(), kKept);
    EXPECT_TRUE(SameBits(ToHost(args.logits.data, elements), before));
    found.pop_back();
    for (size_t i = 0; i < pairs; ++i) {
      found.push_back(std::bit_cast<int32_t>(weights[i]));
    }
    return found;
  }

  // Rows of whose choices the definition is sure.
  static std::vector<float> Draw(const Router& router, int rows) {
    std::vector<float> logits;
    uint64_t seed = 1;
    for (int row = 0; row < rows; ++row) {
      std::vector<float> x;
      do {
        x = RandomFloats(router.experts, ++seed, 2.0f);
      } while (!Solve(router, x.data()).is_sure);
      logits.insert(logits.end(), x.begin(), x.end());
    }
    return logits;
  }

  static void ExpectRight(const Router& router,
                          const std::vector<float>& logits,
                          const std::vector<int32_t>& found) {
    const int top_k = router.args.top_k;
    const int rows = static_cast<int>(logits.size()) / router.experts;
    for (int i = 0; i < rows * top_k; ++i) {
      const int row = i / top_k, slot = i % top_k;
      const Answer answer = Solve(router, &logits[row * router.experts]);
      ASSERT_EQ(found[i], answer.experts[slot]) << row << " " << slot;
      const Number& weight = answer.weights[slot];
      ASSERT_NEAR(std::bit_cast<float>(found[rows * top_k + i]), weight.value,
                  weight.error)
          << row << " " << slot;
    }
  }

  // Each row by itself gets what it gets among others.
  static void ExpectSingles(const Router& router,
                            const std::vector<float>& logits,
                            const std::vector<int32_t>& found) {
    const int n = router.experts, top_k = router.args.top_k;
    const int rows = static_cast<int>(logits.size()) / n;
    for (int row = 0; row < rows; row += 1 + rows / 8) {
      const std::vector<int32_t> single = Route(
          router, {logits.begin() + row * n, logits.begin() + (row + 1) * n},
          /*spare=*/0);
      for (int i = 0; i < top_k; ++i) {
        EXPECT_EQ(single[i], found[row * top_k + i]);
        EXPECT_EQ(single[top_k + i], found[(rows + row) * top_k + i]);
      }
    }
  }

  static void Check(const Router& router, const std::vector<int>& batches) {
    for (const int rows : batches) {
      const std::vector<float> logits = Draw(router, rows);
      const auto route = [&] { return Route(router, logits); };
      const auto found = rows > 10 ? route() : InEveryOrder(route);
      ExpectRight(router, logits, found);
      ExpectSingles(router, logits, found);
      Restart();
      if (HasFailure()) FAIL() << router.experts << " experts, " << rows;
    }
  }
};

TEST_F(MoeRoute, Softmax) {
  Check({8, {.top_k = 2, .normalize = true}}, {1, 3, 67});  // Mixtral
  Check({64, {.top_k = 6}}, {67});                          // DeepSeek-V2-Lite
  Check({1, {.scale = 3.0f}}, {3});
  Check({7, {.top_k = 7}}, {3});
  Check({33, {.top_k = 12, .scale = 6.0f}, RandomFloats(33, 9, 0.05f)}, {3});
}

TEST_F(MoeRoute, Groups) {
  // DeepSeek-V2 and V3.
  Check({160, {.groups = 8, .top_groups = 3, .top_k = 6, .scale = 16.0f}}, {3});
  Check({256,
         {.scoring = Scoring::kSigmoid,
          .groups = 8,
          .top_groups = 4,
          .group_best = 2,
          .top_k = 8,
          .normalize = true,
          .scale = 2.5f},
         RandomFloats(256, 7, 0.1f)},
        {1, 3, 20});
  // More groups than lanes; groups of fewer experts than make their score.
  Check({66,
         {.scoring = Scoring::kSigmoid,
          .groups = 33,
          .top_groups = 20,
          .group_best = 3,
          .top_k = 40}},
        {3});
}

TEST_F(MoeRoute, TheMostExpertsGroupsAndChoices) {
  Check({1024,
         {.scoring = Scoring::kSigmoid,
          .groups = 64,
          .top_groups = 9,
          .group_best = 2,
          .top_k = 64,
          .normalize = true},
         RandomFloats(1024, 5, 0.5f)},
        {2});
  Check({1024, {.top_k = 8}}, {2});
}

TEST_F(MoeRoute, TiesGoToTheLowerIndex) {
  const std::vector<float> equal(100, 0.5f);
  std::vector<int32_t> found = Route({100, {.top_k = 40}}, equal);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(found[i], i);

  // Experts of one lane and of several, the first of them in no lane's order.
  std::vector<float> logits(100, -1.0f);
  for (const int e : {97, 65, 33, 34, 2, 64}) logits[e] = 2.0f;
  for (const Scoring scoring : {Scoring::kSoftmax, Scoring::kSigmoid}) {
    found = Route({100, {.scoring = scoring, .top_k = 8}}, logits);
    found.resize(8);
    EXPECT_EQ(found, (std::vector<int32_t>{2, 33, 34, 64, 65, 97, 0, 1}));
  }

  // Groups 1 and 3 are equal, 2 is best: 1 joins it.
  logits.assign(8, 0.0f);
  logits[2] = logits[6] = 1.0f;
  logits[5] = 2.0f;
  found = Route({8, {.groups = 4, .top_groups = 2, .top_k = 4}}, logits);
  found.resize(4);
  EXPECT_EQ(found, (std::vector<int32_t>{5, 2, 3, 4}));

  // A correction makes equals of what is not: 0.5 + 0.25 and 0.75 + 0.
  logits = {0.0f, 0.0f, std::log(3.0f)};
  Router router{3, {.scoring = Scoring::kSigmoid, .top_k = 3}, {0, 0, -10}};
  found = Route(router, logits);
  found.resize(3);
  EXPECT_EQ(found, (std::vector<int32_t>{0, 1, 2}));
}

TEST_F(MoeRoute, NaNIsTheRowsOwn) {
  constexpr int kExperts = 40, kRows = 6;
  for (const Scoring scoring : {Scoring::kSoftmax, Scoring::kSigmoid}) {
    Router router{kExperts,
                  {.scoring = scoring,
                   .groups = 4,
                   .top_groups = 2,
                   .group_best = 2,
                   .top_k = 8,
                   .normalize = true}};
    std::vector<float> logits = Draw(router, kRows);
    const std::vector<int32_t> clean = Route(router, logits);
    logits[0] = kNaN;
    std::fill_n(&logits[kExperts], kExperts, kNaN);
    std::fill_n(&logits[3 * kExperts], kExperts, -kInfinity);
    logits[4 * kExperts + 7] = kInfinity;
    const std::vector<int32_t> found =
        InEveryOrder([&] { return Route(router, logits); });
    for (const int row : {2, 5}) {
      for (int i = row * 8; i < row * 8 + 8; ++i) {
        EXPECT_EQ(found[i], clean[i]);
        EXPECT_EQ(found[kRows * 8 + i], clean[kRows * 8 + i]);
      }
    }
    for (int row = 0; row < kRows; ++row) {
      const std::set<int32_t> chosen(&found[row * 8], &found[row * 8] + 8);
      EXPECT_EQ(chosen.size(), 8u);
      EXPECT_GE(*chosen.begin(), row == 0 ? 1 : 0);
      EXPECT_LT(*chosen.rbegin(), kExperts);
    }
  }
}

TEST_F(MoeRoute, NaNIsChosenLast) {
  const Router plain{5, {.top_k = 5}};
  std::vector<int32_t> found = Route(plain, {1.0f, kNaN, 3.0f, -80.0f, 2.0f});
  found.resize(5);
  EXPECT_EQ(found, (std::vector<int32_t>{2, 4, 0, 3, 1}));
  for (const float none : {kNaN, -kInfinity}) {
    found = Route(plain, std::vector<float>(5, none));
    found.resize(5);
    EXPECT_EQ(found, (std::vector<int32_t>{0, 1, 2, 3, 4}));
  }
  // Its score is that of -inf: none, and none of the total.
  Router sigmoid{3, {.scoring = Scoring::kSigmoid, .top_k = 3}};
  sigmoid.args.normalize = true;
  found = Route(sigmoid, {kNaN, 0.0f, 0.0f});
  EXPECT_EQ(found, (std::vector<int32_t>{1, 2, 0, std::bit_cast<int32_t>(0.5f),
                                         std::bit_cast<int32_t>(0.5f), 0}));
  sigmoid.correction = {kNaN, -9.0f, kInfinity};
  found = Route(sigmoid, {1.0f, 2.0f, 3.0f});
  found.resize(3);
  EXPECT_EQ(found, (std::vector<int32_t>{2, 1, 0}));

  // Group 0's score is inf - inf, group 1's correction has a NaN.
  const Router router{
      6,
      {.scoring = Scoring::kSigmoid, .groups = 3, .group_best = 2, .top_k = 2},
      {kInfinity, -kInfinity, kNaN, 5.0f, -3.0f, -2.0f}};
  found = Route(router, std::vector<float>(6, 0.0f));
  found.resize(2);
  EXPECT_EQ(found, (std::vector<int32_t>{5, 4}));
}

TEST_F(MoeRoute, NothingAndTheImpossible) {
  RouteArgs args;
  args.logits.cols = 8;
  EXPECT_EQ(LaunchRoute(args, nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
  args.logits.rows = 1;
  args.router.groups = 3;
  EXPECT_EQ(LaunchRoute(args, nullptr), cudaErrorInvalidValue);
  args.router.groups = 1;
  args.router.top_k = 9;
  EXPECT_EQ(LaunchRoute(args, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

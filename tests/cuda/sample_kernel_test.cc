// The sampling kernels against the oracle, in every order, and a row alone
// against the same row among others.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "cuda_host/control.h"
#include "cuda_host/every_order.h"
#include "kernels/cuda/launch/sample.h"
#include "tests/support/sample_cases.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::ToDevice;
using cuda_host::ToHost;
using mla::testing::SampleCase;

struct Result {
  std::vector<Drawn> drawn;
  std::vector<int32_t> tokens;
};

// All in one launch, behind a gap in every row, and changes of nobody first.
Result DrawAll(const std::vector<SampleCase>& cases,
               const cuda_host::Schedule& schedule = {}) {
  cuda_host::ResetDevice();
  cuda_host::Engine::Get().set_schedule(schedule);
  const int rows = static_cast<int>(cases.size());
  const int vocab = static_cast<int>(cases[0].logits.size());
  const size_t stride = vocab + 3;
  std::vector<float> logits(rows * stride, NAN);
  std::vector<Draw> draws;
  std::vector<LogitChange> changes = {{vocab - 1, 1e9f, 7}};
  std::vector<int32_t> newest;
  for (int i = 0; i < rows; ++i) {
    const SampleCase& c = cases[i];
    std::copy(c.logits.begin(), c.logits.end(), &logits[i * stride]);
    draws.push_back(c.draw);
    draws.back().first_change = static_cast<int32_t>(changes.size());
    draws.back().num_changes = static_cast<int32_t>(c.changes.size());
    changes.insert(changes.end(), c.changes.begin(), c.changes.end());
    if (c.newest >= 0) {
      draws.back().newest = static_cast<int32_t>(newest.size());
      newest.push_back(c.newest);
    }
  }
  newest.push_back(0);
  SampleArgs args;
  args.logits = {ToDevice(logits), rows, vocab, stride};
  args.draws = ToDevice(draws);
  args.changes = ToDevice(changes);
  args.newest = ToDevice(newest);
  args.tokens = ToDevice(std::vector<int32_t>(rows, -7));
  args.drawn = ToDevice(std::vector<Drawn>(rows));
  EXPECT_EQ(LaunchSample(args, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess)
      << cuda_host::LastKernelError();
  const std::vector<float> after = ToHost(args.logits.data, logits.size());
  for (int i = 0; i < rows; ++i) {
    for (int gap = 0; gap < 3; ++gap) {
      EXPECT_TRUE(std::isnan(after[i * stride + vocab + gap])) << i;
    }
  }
  return {ToHost(args.drawn, rows), ToHost(args.tokens, rows)};
}

void ExpectSame(const Drawn& a, const Drawn& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(std::memcmp(&a.logprob, &b.logprob, sizeof(float)), 0);
  ASSERT_EQ(a.num_top, b.num_top);
  EXPECT_EQ(std::memcmp(a.top_ids, b.top_ids, a.num_top * sizeof(int32_t)), 0);
  EXPECT_EQ(
      std::memcmp(a.top_logprobs, b.top_logprobs, a.num_top * sizeof(float)),
      0);
}

TEST(SampleKernel, DrawsByDefinition) {
  int draws = 0, certain = 0;
  // Around what a warp and a block take at once.
  for (const int vocab : {1, 2, 33, 1025}) {
    const auto cases = mla::testing::SampleCases(vocab, true);
    const Result found = DrawAll(cases);
    for (size_t i = 0; i < cases.size(); ++i) {
      certain += mla::testing::CheckDrawn(cases[i], found.drawn[i]);
      ++draws;
      EXPECT_EQ(found.tokens[i], std::max(found.drawn[i].id, 0));
    }
  }
  EXPECT_GT(certain, draws * 95 / 100) << "the oracle is to decide";
}

TEST(SampleKernel, AModelsVocabulary) {
  auto cases = mla::testing::SampleCases(32003, true);
  for (size_t i = 0; i < cases.size(); i += 9) {
    const Result found = DrawAll({cases[i]});
    mla::testing::CheckDrawn(cases[i], found.drawn[0]);
  }
}

// The inverse of the distribution, number by number.
TEST(SampleKernel, NumbersGoOverTheWholeDistribution) {
  for (const bool cut : {false, true}) {
    SampleCase c = mla::testing::SampleCases(70, false)[4];
    c.draw.temperature = 3.0f;
    c.draw.top_k = cut ? 40 : 0;
    c.draw.top_p = cut ? 0.95f : 1.0f;
    std::vector<SampleCase> cases;
    for (uint64_t i = 0; i < 64; ++i) {
      c.draw.random = i << 58;
      cases.push_back(c);
    }
    const Result found = DrawAll(cases);
    for (int i = 0; i < 64; ++i) {
      mla::testing::CheckDrawn(cases[i], found.drawn[i]);
      if (i > 0) {
        EXPECT_GE(found.tokens[i], found.tokens[i - 1]);
      }
    }
    EXPECT_GT(
        std::set<int32_t>(found.tokens.begin(), found.tokens.end()).size(), 8u);
  }
}

TEST(SampleKernel, TheSameInEveryOrderAndAlone) {
  const auto cases = mla::testing::SampleCases(1100, true);
  const Result expected = DrawAll(cases);
  for (const cuda_host::Schedule& schedule : cuda_host::kSchedules) {
    std::vector<SampleCase> some;
    for (size_t i = 0; i < cases.size(); i += 3) some.push_back(cases[i]);
    const Result found = DrawAll(some, schedule);
    for (size_t i = 0; i < some.size(); ++i) {
      SCOPED_TRACE(some[i].name);
      ExpectSame(found.drawn[i], expected.drawn[3 * i]);
    }
  }
  for (size_t i = 1; i < cases.size(); i += 3) {
    SCOPED_TRACE(cases[i].name);
    ExpectSame(DrawAll({cases[i]}).drawn[0], expected.drawn[i]);
  }
}

TEST(SampleKernel, RefusesWhatItsSumsDoNotHold) {
  SampleArgs args;
  EXPECT_EQ(LaunchSample(args, nullptr), cudaSuccess) << "no rows";
  args.logits.rows = 1;
  EXPECT_EQ(LaunchSample(args, nullptr), cudaErrorInvalidValue);
  args.logits.cols = 1 << 20;
  EXPECT_EQ(LaunchSample(args, nullptr), cudaErrorInvalidValue);
}

TEST(TakeTokens, OnlyWhereTheyAreAwaited) {
  cuda_host::ResetDevice();
  std::vector<int32_t> tokens, from, expected;
  const std::vector<int32_t> drawn = {70, 71, 72};
  for (int i = 0; i < 600; ++i) {
    tokens.push_back(i);
    from.push_back(i % 4 - 1);
    expected.push_back(i % 4 == 0 ? i : drawn[i % 4 - 1]);
  }
  TakeTokensArgs args;
  args.tokens = ToDevice(tokens);
  args.from = ToDevice(from);
  args.drawn = ToDevice(drawn);
  args.rows = 599;
  EXPECT_EQ(LaunchTakeTokens(args, nullptr), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  expected[599] = 599;
  EXPECT_EQ(ToHost(args.tokens, 600), expected);
  args.rows = 0;
  EXPECT_EQ(LaunchTakeTokens(args, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace mla::kernels::cuda

// Mixture of experts against a token-by-token double loop.
#include "kernels/cpu/moe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

Rows View(std::vector<float>& v, int rows, int cols) {
  return {v.data(), rows, cols, size_t(cols)};
}

using Scoring = RouterArgs::Scoring;

TEST(Route, PicksTheLargestAndWeighsByProbability) {
  std::vector<float> logits = {0.0f, 2.0f, 1.0f, 2.0f};
  int32_t ids[3];
  float weights[3];
  Route({.top_k = 3, .scale = 2.0f}, View(logits, 1, 4), ids, weights);
  EXPECT_EQ(ids[0], 1);  // ties go to the lower index
  EXPECT_EQ(ids[1], 3);
  EXPECT_EQ(ids[2], 2);
  const double total = 1 + 2 * std::exp(2.0) + std::exp(1.0);
  EXPECT_NEAR(weights[0], 2 * std::exp(2.0) / total, 1e-6);
  EXPECT_NEAR(weights[2], 2 * std::exp(1.0) / total, 1e-6);

  Route({.top_k = 3, .normalize = true}, View(logits, 1, 4), ids, weights);
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1.0, 1e-6);
}

TEST(Route, ACorrectionChoosesButDoesNotWeigh) {
  std::vector<float> logits = {0.0f, 3.0f, -1.0f, 1.0f};
  const float correction[] = {0.0f, -1.0f, 1.0f, 0.0f};
  int32_t ids[2];
  float weights[2];
  Route({.scoring = Scoring::kSigmoid, .correction = correction, .top_k = 2},
        View(logits, 1, 4), ids, weights);
  // Scores 0.5, 0.953, 0.269, 0.731; corrected 0.5, -0.047, 1.269, 0.731.
  EXPECT_EQ(ids[0], 2);
  EXPECT_EQ(ids[1], 3);
  EXPECT_NEAR(weights[0], 1 / (1 + std::exp(1.0)), 1e-6);
  EXPECT_NEAR(weights[1], 1 / (1 + std::exp(-1.0)), 1e-6);
}

TEST(Route, GroupsAreChosenByTheirBestExperts) {
  // Three groups of two. By the single best expert, groups 0 and 2 win; by the
  // sum of two, groups 1 and 0.
  std::vector<float> logits = {2.0f, -9.0f, 1.5f, 1.4f, 1.9f, -9.0f};
  int32_t ids[2];
  float weights[2];
  RouterArgs args{.scoring = Scoring::kSigmoid, .groups = 3, .top_groups = 2};
  args.top_k = 2;
  Route(args, View(logits, 1, 6), ids, weights);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[1], 4);
  args.group_best = 2;
  Route(args, View(logits, 1, 6), ids, weights);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[1], 2);
}

TEST(Route, SurvivesNaN) {
  std::vector<float> logits(64, std::numeric_limits<float>::quiet_NaN());
  const std::vector<float> correction(64,
                                      std::numeric_limits<float>::infinity());
  logits[9] = 1.0f;
  int32_t ids[2];
  float weights[2];
  Route({.top_k = 2}, View(logits, 1, 64), ids, weights);
  EXPECT_EQ(ids[0], 9);
  std::fill(logits.begin(), logits.end(),
            -std::numeric_limits<float>::infinity());
  Route({.correction = correction.data(),
         .groups = 4,
         .top_groups = 2,
         .group_best = 2,
         .top_k = 2},
        View(logits, 1, 64), ids, weights);
  EXPECT_NE(ids[0], ids[1]);
}

using MoeTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(MoeTest);

TEST_P(MoeTest, MatchesATokenByTokenLoop) {
  constexpr int kExperts = 5, kTopK = 2, kHidden = 24, kInner = 18, kRows = 11;
  CpuContext cpu(GetParam(), 2);
  const std::vector<float> w1 =
      RandomFloats(kExperts * 2 * kInner * kHidden, 1, 0.2f);
  const std::vector<float> w2 =
      RandomFloats(kExperts * kHidden * kInner, 2, 0.2f);
  std::vector<PackedMatrix> gate_up, down;
  std::vector<const PackedMatrix*> gate_up_p, down_p;
  for (int e = 0; e < kExperts; ++e) {
    gate_up.emplace_back(DType::kF32, 2 * kInner, kHidden);
    for (int i = 0; i < 2 * kInner; ++i) {
      gate_up[e].SetRow(i, &w1[(e * 2 * kInner + i) * kHidden]);
    }
    down.emplace_back(DType::kF32, kHidden, kInner);
    for (int i = 0; i < kHidden; ++i) {
      down[e].SetRow(i, &w2[(e * kHidden + i) * kInner]);
    }
  }
  for (int e = 0; e < kExperts; ++e) {
    gate_up_p.push_back(&gate_up[e]);
    down_p.push_back(&down[e]);
  }
  std::vector<float> x = RandomFloats(kRows * kHidden, 3);
  std::vector<int32_t> ids;
  std::vector<float> weights;
  for (int row = 0; row < kRows; ++row) {
    // Expert 4 is met by no one, expert 0 by every other row.
    // Ids past the experts stand for the identity.
    ids.insert(ids.end(), {row % 2 == 0 ? 0 : 1 + row % 3,
                           row % 4 == 0 ? kExperts + 1 : 1 + (row + 1) % 3});
    weights.insert(weights.end(), {0.7f, 0.2f + 0.01f * row});
  }
  std::vector<float> y(kRows * kHidden, NAN);
  std::vector<float> y_parts = y;  // without the identities
  RunExperts(cpu, View(x, kRows, kHidden), gate_up_p, down_p, kTopK, ids.data(),
             weights.data(), /*add_identities=*/true, View(y, kRows, kHidden));
  RunExperts(cpu, View(x, kRows, kHidden), gate_up_p, down_p, kTopK, ids.data(),
             weights.data(), /*add_identities=*/false,
             View(y_parts, kRows, kHidden));

  for (int row = 0; row < kRows; ++row) {
    std::vector<double> expected(kHidden), magnitude(kHidden);
    std::vector<double> identities(kHidden);
    for (int slot = 0; slot < kTopK; ++slot) {
      const int e = ids[row * kTopK + slot];
      if (e >= kExperts) {  // the identity
        for (int h = 0; h < kHidden; ++h) {
          const double term =
              weights[row * kTopK + slot] * x[row * kHidden + h];
          expected[h] += term;
          identities[h] += term;
          magnitude[h] += std::abs(term);
        }
        continue;
      }
      const auto project = [&](int i) {
        double sum = 0;
        for (int k = 0; k < kHidden; ++k) {
          sum += double{w1[(e * 2 * kInner + i) * kHidden + k]} *
                 x[row * kHidden + k];
        }
        return sum;
      };
      for (int i = 0; i < kInner; ++i) {
        const double gate = project(i);
        const double inner = gate / (1 + std::exp(-gate)) * project(kInner + i);
        for (int h = 0; h < kHidden; ++h) {
          const double term = weights[row * kTopK + slot] *
                              w2[(e * kHidden + h) * kInner + i] * inner;
          expected[h] += term;
          magnitude[h] += std::abs(term);
        }
      }
    }
    for (int h = 0; h < kHidden; ++h) {
      // Two sums of products; inputs of order one in each.
      const double bound = (kHidden + kInner) * 0x1.0p-22 * (magnitude[h] + 1);
      EXPECT_NEAR(y[row * kHidden + h], expected[h], bound);
      EXPECT_NEAR(y_parts[row * kHidden + h], expected[h] - identities[h],
                  bound);
    }
  }
}

}  // namespace
}  // namespace mla::kernels

// Conversion against the definitions of GQA and MLA, written as double loops:
// what must be exact is, and what is approximated is so only where it says.
#include <gtest/gtest.h>

#include <vector>

#include "runtime/convert/latent.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/convert/rope_split.h"
#include "tests/support/attention_formulas.h"

namespace mla::runtime {
namespace {

using namespace mla::testing;  // NOLINT: the formulas that are asserted

class MixingTest : public ::testing::TestWithParam<Mixing> {};

// One KV head whose every frequency keeps turning: nothing is approximated.
TEST_P(MixingTest, MqaIsConvertedExactly) {
  for (const bool biases : {false, true}) {
    const GqaWeights w = RandomGqa(kMqa, biases);
    const DoubleMatrix y = Inputs(w.hidden());
    const Moments moments = MomentsOf(y);
    const std::vector<float> f = Frequencies(w.head_dim);
    const auto split = SplitByLadder(w, moments, f, w.head_dim, 1, GetParam());
    ASSERT_TRUE(split.ok()) << split.status();
    EXPECT_EQ(split->k_nope.rows(), 0);
    const auto latent = FitLatent(
        *split, w, moments, BalancedMetric(*split, w, moments, 1), w.head_dim);
    ASSERT_TRUE(latent.ok()) << latent.status();
    const MlaWeights mla = PackMla(w, *split, *latent);
    EXPECT_LT((MlaOutput(mla, y) - GqaOutput(w, f, y)).cwiseAbs().maxCoeff(),
              kTolerance);
  }
}

// A latent as wide as what it codes loses only what RoPE lost.
TEST_P(MixingTest, FullRankGivesThePartialRopesOutputs) {
  for (const bool biases : {false, true}) {
    const GqaWeights w = RandomGqa(kGqa, biases);
    const DoubleMatrix y = Inputs(w.hidden());
    Moments moments = MomentsOf(y);  // of more columns than tokens: regular
    moments.second += DoubleMatrix::Identity(w.hidden(), w.hidden());
    const std::vector<float> f = Frequencies(w.head_dim);
    const auto split = SplitByLadder(w, moments, f, 8, 4, GetParam());
    ASSERT_TRUE(split.ok()) << split.status();
    const int rank = static_cast<int>(split->k_nope.rows() + w.v.rows());
    const auto metric = WeightedMetric(*split, w, moments);
    ASSERT_TRUE(metric.ok()) << metric.status();
    for (const LatentMetric& m :
         {BalancedMetric(*split, w, moments, 1), *metric}) {
      const auto latent = FitLatent(*split, w, moments, m, rank);
      ASSERT_TRUE(latent.ok()) << latent.status();
      EXPECT_LT((MlaOutput(PackMla(w, *split, *latent), y) -
                 PartialRopeOutput(w, *split, y))
                    .cwiseAbs()
                    .maxCoeff(),
                kTolerance);
    }
  }
}

// Without positions, a split changes no score.
TEST_P(MixingTest, ASplitKeepsScores) {
  const GqaWeights w = RandomGqa(kGqa, true);
  const DoubleMatrix y = Inputs(w.hidden());
  const std::vector<float> still(w.head_dim / 2, 0.0f);
  const auto split = SplitByLadder(w, MomentsOf(y), still, 8, 4, GetParam());
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_LT((PartialRopeOutput(w, *split, y) - GqaOutput(w, still, y))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

INSTANTIATE_TEST_SUITE_P(All, MixingTest,
                         ::testing::Values(Mixing::kReal, Mixing::kComplex,
                                           Mixing::kWeighted));

TEST(RopeSplit, ALaddersFrequenciesAreTheNarrowHeads) {
  const GqaWeights w = RandomGqa(kGqa, false);
  const auto split =
      SplitByLadder(w, MomentsOf(Inputs(w.hidden())), Frequencies(w.head_dim),
                    8, 4, Mixing::kReal);
  ASSERT_TRUE(split.ok()) << split.status();
  const std::vector<float> narrow = Frequencies(8);
  ASSERT_EQ(split->inv_freq.size(), narrow.size());
  for (size_t i = 0; i < narrow.size(); ++i) {
    EXPECT_FLOAT_EQ(static_cast<float>(split->inv_freq[i]), narrow[i]);
  }
}

TEST(RopeSplit, ASelectionKeepsScoresToo) {
  const GqaWeights w = RandomGqa(kGqa, true);
  const DoubleMatrix y = Inputs(w.hidden());
  const std::vector<float> still(w.head_dim / 2, 0.0f);
  const auto split =
      SplitBySelection(w, MomentsOf(y), still, 10, {2, 2, 4}, 1024);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->k_rope.rows(), 10);
  EXPECT_LT((PartialRopeOutput(w, *split, y) - GqaOutput(w, still, y))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

// Keys that live in one frequency of one head need no other component.
TEST(RopeSplit, TheSelectionFindsWhereTheScoresAre) {
  GqaWeights w = RandomGqa(kGqa, false);
  const int kept = 3, half = w.head_dim / 2;
  for (int row = 0; row < w.k.rows(); ++row) {
    const bool alive =
        row == w.head_dim + kept || row == w.head_dim + half + kept;
    if (!alive) w.k.row(row).setZero();
  }
  const DoubleMatrix y = Inputs(w.hidden());
  const std::vector<float> f = Frequencies(w.head_dim);
  const auto split =
      SplitBySelection(w, MomentsOf(y), f, 2, {1, 1, 1, 1, 1, 1, 1, 1}, 1024);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_FLOAT_EQ(static_cast<float>(split->inv_freq[0]), f[kept]);
  EXPECT_LT((PartialRopeOutput(w, *split, y) - GqaOutput(w, f, y))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

// Of all latents of its rank, none codes keys and values better.
TEST(Latent, LosesTheEnergyBeyondItsRank) {
  const GqaWeights w = RandomGqa(kGqa, false);
  const DoubleMatrix y = Inputs(w.hidden());
  const Moments moments = MomentsOf(y);
  const auto split = SplitByLadder(w, moments, Frequencies(w.head_dim), 8, 4,
                                   Mixing::kWeighted);
  ASSERT_TRUE(split.ok()) << split.status();
  const auto metric = WeightedMetric(*split, w, moments);
  ASSERT_TRUE(metric.ok()) << metric.status();
  const auto latent = FitLatent(*split, w, moments, *metric, 12);
  ASSERT_TRUE(latent.ok()) << latent.status();
  const DoubleMatrix code = latent->down * y;
  const double lost =
      (metric->k.root * (split->k_nope * y - latent->key_up * code))
          .squaredNorm() +
      (metric->v.root * (w.v * y - latent->value_up * code)).squaredNorm();
  const double beyond =
      latent->spectrum.tail(latent->spectrum.size() - 12).sum() * y.cols();
  EXPECT_NEAR(lost, beyond, 1e-9 * latent->spectrum.sum() * y.cols());
}

TEST(RopeSplit, SizesThatDoNotFitAreRefused) {
  const GqaWeights w = RandomGqa(kGqa, false);
  const Moments y = MomentsOf(Inputs(w.hidden()));
  const std::vector<float> f = Frequencies(w.head_dim);
  for (const auto& [rope, fold] :
       {std::pair{6, 2}, {8, 1}, {8, 3}, {32, 2}, {0, 2}}) {
    EXPECT_EQ(SplitByLadder(w, y, f, rope, fold, Mixing::kReal).status().code(),
              absl::StatusCode::kInvalidArgument)
        << rope << " " << fold;
  }
  for (const int rope : {0, 3, 48}) {
    EXPECT_EQ(SplitBySelection(w, y, f, rope, {8}, 16).status().code(),
              absl::StatusCode::kInvalidArgument)
        << rope;
  }
  const auto split = SplitByLadder(w, y, f, 8, 4, Mixing::kReal);
  ASSERT_TRUE(split.ok());
  const LatentMetric metric = BalancedMetric(*split, w, y, 1);
  for (const int rank : {0, 1000}) {
    EXPECT_EQ(FitLatent(*split, w, y, metric, rank).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace mla::runtime

// Conversion against the definitions of GQA and MLA, written as double loops:
// what must be exact is, and what is approximated is so only where it says.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "runtime/convert/latent.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/convert/rope_split.h"

namespace mla::runtime {
namespace {

constexpr double kTolerance = 1e-9;  // of outputs of order one, in doubles
constexpr int kTokens = 24;

struct Sizes {
  int heads, kv_heads, head_dim, hidden;
};
constexpr Sizes kGqa = {6, 3, 16, 40};
constexpr Sizes kMqa = {5, 1, 16, 40};

DoubleMatrix RandomMatrix(std::mt19937& random, int rows, int cols) {
  std::normal_distribution<double> normal;
  DoubleMatrix m(rows, cols);
  for (double& x : m.reshaped()) x = normal(random) / std::sqrt(cols);
  return m;
}

GqaWeights RandomGqa(const Sizes& s, bool biases) {
  std::mt19937 random(3);
  GqaWeights w;
  w.heads = s.heads;
  w.kv_heads = s.kv_heads;
  w.head_dim = s.head_dim;
  const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  w.q = RandomMatrix(random, q, s.hidden) * 2;
  w.k = RandomMatrix(random, kv, s.hidden) * 2;
  w.v = RandomMatrix(random, kv, s.hidden);
  w.o = RandomMatrix(random, s.hidden, q);
  const double size = biases ? 1 : 0;
  w.q_bias = size * RandomMatrix(random, q, 1);
  w.k_bias = size * RandomMatrix(random, kv, 1);
  w.v_bias = size * RandomMatrix(random, kv, 1);
  w.o_bias = size * RandomMatrix(random, s.hidden, 1);
  return w;
}

std::vector<float> Frequencies(int head_dim) {
  std::vector<float> f;
  for (int i = 0; i < head_dim / 2; ++i) {
    f.push_back(std::pow(100.0f, -2.0f * i / head_dim));
  }
  return f;
}

Moments MomentsOf(const DoubleMatrix& y) {
  return {y * y.transpose() / y.cols(), y.rowwise().mean()};
}

// Rotates pairs (i, i + n/2) of x.
template <typename Frequencies>
DoubleVector Rotated(DoubleVector x, const Frequencies& frequencies,
                     int position) {
  const auto n = static_cast<Eigen::Index>(frequencies.size());
  for (Eigen::Index i = 0; i < n; ++i) {
    const double angle = position * static_cast<double>(frequencies[i]);
    const double a = x[i], b = x[n + i];
    x[i] = a * std::cos(angle) - b * std::sin(angle);
    x[n + i] = b * std::cos(angle) + a * std::sin(angle);
  }
  return x;
}

// Causal softmax attention: scores(t, s) for s <= t.
template <typename Score, typename Value>
DoubleVector Attend(int t, const Score& score, const Value& value) {
  std::vector<double> weights;
  double sum = 0;
  for (int s = 0; s <= t; ++s) {
    weights.push_back(std::exp(score(s)));
    sum += weights.back();
  }
  DoubleVector out = DoubleVector::Zero(value(0).size());
  for (int s = 0; s <= t; ++s) out += weights[s] / sum * value(s);
  return out;
}

DoubleMatrix GqaOutput(const GqaWeights& w, const std::vector<float>& f,
                       const DoubleMatrix& y) {
  const int d = w.head_dim;
  DoubleMatrix out(w.hidden(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector sum = w.o_bias;
    for (int head = 0; head < w.heads; ++head) {
      const int kv = w.kv_head_of(head) * d;
      const DoubleVector q = Rotated(
          w.q_head(head) * y.col(t) + w.q_bias.segment(head * d, d), f, t);
      sum += w.o_head(head) * Attend(
                                  t,
                                  [&](int s) {
                                    const DoubleVector k = Rotated(
                                        w.k.middleRows(kv, d) * y.col(s) +
                                            w.k_bias.segment(kv, d),
                                        f, s);
                                    return q.dot(k) / std::sqrt(d);
                                  },
                                  [&](int s) -> DoubleVector {
                                    return w.v.middleRows(kv, d) * y.col(s) +
                                           w.v_bias.segment(kv, d);
                                  });
    }
    out.col(t) = sum;
  }
  return out;
}

// DeepSeek-V2 (2405.04434), equations 9 to 19, without norms.
DoubleMatrix MlaOutput(const MlaWeights& w, const DoubleMatrix& y) {
  const MlaShape& m = w.shape;
  const int nope = m.qk_nope_head_dim, rope = m.qk_rope_head_dim;
  const int dim = nope + rope, v = m.v_head_dim, rank = m.kv_lora_rank;
  DoubleMatrix rows = w.kv_a * y;
  rows.colwise() += w.kv_a_bias;
  DoubleMatrix out(w.o.rows(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector heads(m.heads * v);
    const DoubleVector queries = w.q * y.col(t) + w.q_bias;
    for (int head = 0; head < m.heads; ++head) {
      const DoubleVector q_nope = queries.segment(head * dim, nope);
      const DoubleVector q_rope =
          Rotated(queries.segment(head * dim + nope, rope), m.inv_freq, t);
      const DoubleMatrix up = w.kv_b.middleRows(head * (nope + v), nope + v);
      heads.segment(head * v, v) = Attend(
          t,
          [&](int s) {
            const DoubleVector latent = rows.col(s).head(rank);
            const DoubleVector k_rope =
                Rotated(rows.col(s).tail(rope), m.inv_freq, s);
            return (q_nope.dot(up.topRows(nope) * latent) +
                    q_rope.dot(k_rope)) /
                   std::sqrt(dim);
          },
          [&](int s) -> DoubleVector {
            return up.bottomRows(v) * rows.col(s).head(rank);
          });
    }
    out.col(t) = w.o * heads + w.o_bias;
  }
  return out;
}

// The split alone: what turns turns, what is left does not, nothing is
// compressed. Biases of still keys are left out, as softmax does.
DoubleMatrix PartialRopeOutput(const GqaWeights& w, const RopeSplit& split,
                               const DoubleMatrix& y) {
  const int d = w.head_dim;
  DoubleMatrix out(w.hidden(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector sum = w.o_bias;
    for (int head = 0; head < w.heads; ++head) {
      const int kv = w.kv_head_of(head) * d;
      const DoubleVector q =
          w.q_head(head) * y.col(t) + w.q_bias.segment(head * d, d);
      const DoubleVector q_rope =
          Rotated(split.q_rope[head] * q, split.inv_freq, t);
      const DoubleVector q_nope = split.q_nope[head] * q;
      sum += w.o_head(head) *
             Attend(
                 t,
                 [&](int s) {
                   const DoubleVector k_rope =
                       Rotated(split.k_rope * y.col(s) + split.k_rope_bias,
                               split.inv_freq, s);
                   return (q_rope.dot(k_rope) +
                           q_nope.dot(split.k_nope * y.col(s))) /
                          std::sqrt(d);
                 },
                 [&](int s) -> DoubleVector {
                   return w.v.middleRows(kv, d) * y.col(s) +
                          w.v_bias.segment(kv, d);
                 });
    }
    out.col(t) = sum;
  }
  return out;
}

DoubleMatrix Inputs(int hidden) {
  std::mt19937 random(11);
  return RandomMatrix(random, hidden, kTokens) * std::sqrt(kTokens);
}

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

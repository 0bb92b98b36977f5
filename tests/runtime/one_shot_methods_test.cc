// One-shot methods on random layers, against the definitions of attention and
// of the papers' choices, written as loops.
#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "runtime/convert/fit_layer.h"
#include "runtime/convert/per_head_rope.h"
#include "tests/support/attention_formulas.h"

namespace mla::runtime {
namespace {

using namespace mla::testing;  // NOLINT: the formulas that are asserted

double Largest(const DoubleMatrix& m) { return m.cwiseAbs().maxCoeff(); }

ConversionSpec Spec(const std::string& text) {
  const auto spec = ParseConversionSpec(text);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : ConversionSpec();
}

// A layer with biases, what it reads, and moments that are regular.
struct Layer {
  GqaWeights w = RandomGqa(kGqa, true);
  DoubleMatrix y = Inputs(w.hidden());
  Moments moments = MomentsOf(y);
  std::vector<float> f = Frequencies(w.head_dim);

  absl::StatusOr<LayerFit> Fit(const std::string& text) const {
    const ConversionSpec spec = Spec(text);
    PairNorms norms(w);
    norms.Add(w, y);
    return FitLayer(w, moments, f, spec, spec.kv_lora_rank, norms.Scores(w));
  }
  MlaWeights Fitted(const std::string& text) const {
    const auto fit = Fit(text);
    EXPECT_TRUE(fit.ok()) << text << ": " << fit.status();
    return fit.ok() ? fit->weights : MlaWeights();
  }
};

// GQA of which KV head g turns pair j only where turns[g][j].
DoubleMatrix PartlyTurned(const Layer& layer,
                          const std::vector<std::vector<bool>>& turns) {
  const GqaWeights& w = layer.w;
  DoubleMatrix out = DoubleMatrix::Zero(w.hidden(), layer.y.cols());
  out.colwise() += w.o_bias;
  for (int g = 0; g < w.kv_heads; ++g) {
    std::vector<float> f = layer.f;
    for (size_t j = 0; j < f.size(); ++j) {
      if (!turns[g][j]) f[j] = 0;
    }
    GqaWeights alone = w;  // the other heads give nothing
    alone.o_bias.setZero();
    for (int head = 0; head < w.heads; ++head) {
      if (w.kv_head_of(head) == g) continue;
      alone.o.middleCols(head * w.head_dim, w.head_dim).setZero();
    }
    out += GqaOutput(alone, f, layer.y);
  }
  return out;
}

// 48 key rows less what turns, and 48 value rows: nothing is cut off.
TEST(Mha2Mla, FullRankLosesOnlyTheTurnsOfTheOtherPairs) {
  const Layer layer;
  const int half = layer.w.head_dim / 2;
  const struct {
    const char* select;
    std::vector<int> pairs;
  } cases[] = {{"high", {0, 1}}, {"low", {6, 7}}, {"uniform", {0, 4}}};
  for (const auto& c : cases) {
    std::vector<bool> turns(half, false);
    for (const int pair : c.pairs) turns[pair] = true;
    const DoubleMatrix expected = PartlyTurned(layer, {turns, turns, turns});
    for (const char* aware : {"weights", "activations"}) {
      const MlaWeights mla = layer.Fitted(
          std::string("mha2mla:kv_lora_rank=84,qk_rope_head_dim=12,select=") +
          c.select + ",aware=" + aware);
      // Of weights alone: activations of few tokens do not span the space.
      EXPECT_LT(Largest(MlaOutput(mla, layer.y) - expected),
                std::string(aware) == "weights" ? kTolerance : 1e-6)
          << c.select << " " << aware;
    }
  }
}

TEST(Mha2Mla, TwoNormTurnsThePairsThatMakeTheLargestScores) {
  const Layer layer;
  const GqaWeights& w = layer.w;
  const int d = w.head_dim, half = d / 2;
  std::vector<std::vector<bool>> turns(w.kv_heads);
  for (int g = 0; g < w.kv_heads; ++g) {
    std::vector<double> score(half, 0.0);
    const auto norm = [&](const DoubleMatrix& m, const DoubleVector& bias,
                          int head, int j) {
      double sum = 0;
      for (int t = 0; t < layer.y.cols(); ++t) {
        const DoubleVector x = m * layer.y.col(t) + bias;
        sum += std::hypot(x[head * d + j], x[head * d + half + j]);
      }
      return sum / static_cast<double>(layer.y.cols());
    };
    for (int j = 0; j < half; ++j) {
      for (int head = 0; head < w.heads; ++head) {
        if (w.kv_head_of(head) != g) continue;
        score[j] += norm(w.q, w.q_bias, head, j) * norm(w.k, w.k_bias, g, j);
      }
    }
    std::vector<double> sorted = score;
    std::sort(sorted.rbegin(), sorted.rend());
    for (const double s : score) turns[g].push_back(s >= sorted[1]);
  }
  const MlaWeights mla =
      layer.Fitted("mha2mla:kv_lora_rank=84,qk_rope_head_dim=12");
  EXPECT_LT(Largest(MlaOutput(mla, layer.y) - PartlyTurned(layer, turns)),
            kTolerance);
}

// Of matrices of a rank, none is nearer (Eckart and Young): what is lost is the
// singular values beyond it.
TEST(Mha2Mla, JointAndSplitLoseTheSingularValuesBeyondTheirRank) {
  const Layer layer;
  const GqaWeights& w = layer.w;
  const auto split = SplitPerHead(w, layer.f, 12, PairChoice::kHigh, {});
  ASSERT_TRUE(split.ok()) << split.status();
  const auto beyond = [](const DoubleMatrix& m, int rank) {
    const DoubleVector s = Eigen::JacobiSVD<DoubleMatrix>(m).singularValues();
    return s.tail(s.size() - rank).squaredNorm();
  };
  DoubleMatrix both(split->k_nope.rows() + w.v.rows(), w.hidden());
  both << split->k_nope, w.v;
  const Moments white{DoubleMatrix::Identity(w.hidden(), w.hidden()),
                      DoubleVector::Zero(w.hidden())};
  const auto lost = [&](const Latent& latent) {
    return (split->k_nope - latent.key_up * latent.down).squaredNorm() +
           (w.v - latent.value_up * latent.down).squaredNorm();
  };
  const auto joint = FitLatent(*split, w, white, PlainMetric(*split, w), 10);
  ASSERT_TRUE(joint.ok()) << joint.status();
  EXPECT_NEAR(lost(*joint), beyond(both, 10), kTolerance);
  const auto two = FitTwoLatents(*split, w, white, 10);
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_NEAR(lost(*two), beyond(split->k_nope, 5) + beyond(w.v, 5),
              kTolerance);
}

// CARE: of latents of a rank, the one that keeps most of W C^1/2.
TEST(Care, LosesTheSingularValuesOfTheActivationsBeyondItsRank) {
  const Layer layer;
  const auto split =
      SplitByLadder(layer.w, layer.moments, layer.f, 8, 4, Mixing::kReal);
  ASSERT_TRUE(split.ok()) << split.status();
  const int rank = 12;
  const MlaWeights mla =
      layer.Fitted("care:kv_lora_rank=12,qk_rope_head_dim=8,freqfold=4");
  const DoubleMatrix code = mla.kv_a.topRows(rank) * layer.y;
  DoubleMatrix z(split->k_nope.rows() + layer.w.v.rows(), layer.y.cols());
  z << split->k_nope * layer.y, layer.w.v * layer.y;
  const DoubleVector s = Eigen::JacobiSVD<DoubleMatrix>(z).singularValues();
  // Its axes are orthonormal: the code's energy is what is kept.
  EXPECT_NEAR(code.squaredNorm(), s.head(rank).squaredNorm(),
              kTolerance * s.squaredNorm());
}

// Where RoPE is no matter, X-EcoMLA's first elements meet the same keys, and
// its last ones the mean of all heads'.
TEST(XEcoMla, IsWhatItsAuthorsStartFrom) {
  const Layer layer;
  const GqaWeights& w = layer.w;
  const int d = w.head_dim, rope = 8, still = d - rope;
  const MlaWeights mla =
      layer.Fitted("x-ecomla:kv_lora_rank=40,qk_rope_head_dim=8");
  DoubleMatrix out(w.hidden(), layer.y.cols());
  const auto last = [&](const DoubleVector& x, int position) {
    DoubleVector turned(rope);
    for (int i = 0; i < rope / 2; ++i) {
      const double angle = position * std::pow(100.0, -2.0 * i / rope);
      const double a = x[2 * i], b = x[2 * i + 1];
      turned[2 * i] = a * std::cos(angle) - b * std::sin(angle);
      turned[2 * i + 1] = b * std::cos(angle) + a * std::sin(angle);
    }
    return turned;
  };
  const DoubleMatrix k = (w.k * layer.y).colwise() + w.k_bias;
  for (int t = 0; t < layer.y.cols(); ++t) {
    DoubleVector sum = w.o_bias;
    for (int head = 0; head < w.heads; ++head) {
      const int kv = w.kv_head_of(head) * d;
      const DoubleVector q =
          w.q_head(head) * layer.y.col(t) + w.q_bias.segment(head * d, d);
      sum += w.o_head(head) *
             Attend(
                 t,
                 [&](int s) {
                   DoubleVector mean = DoubleVector::Zero(rope);
                   for (int g = 0; g < w.kv_heads; ++g) {
                     mean += k.col(s).segment(g * d + still, rope) / w.kv_heads;
                   }
                   return (q.head(still).dot(k.col(s).segment(kv, still)) +
                           last(q.tail(rope), t).dot(last(mean, s))) /
                          std::sqrt(d);
                 },
                 [&](int s) -> DoubleVector {
                   return w.v.middleRows(kv, d) * layer.y.col(s) +
                          w.v_bias.segment(kv, d);
                 });
    }
    out.col(t) = sum;
  }
  // All 40 inputs' directions are kept. Frequencies come as floats.
  EXPECT_LT(Largest(MlaOutput(mla, layer.y) - out), 1e-5);
}

TEST(QueryLatent, OfFullRankChangesNothing) {
  const Layer layer;
  for (const char* method : {"weighted", "transmla", "care"}) {
    const std::string text =
        std::string(method) + ":kv_lora_rank=20,qk_rope_head_dim=8,freqfold=4";
    const MlaWeights mla = layer.Fitted(text + ",q_lora_rank=40");
    EXPECT_EQ(mla.q_a.rows(), 40);
    EXPECT_LT(Largest(MlaOutput(mla, layer.y) -
                      MlaOutput(layer.Fitted(text), layer.y)),
              kTolerance);
  }
}

TEST(QueryLatent, KeepsTheLargestSingularValuesOfTheQueries) {
  const Layer layer;
  const MlaWeights mla = layer.Fitted(
      "weighted:kv_lora_rank=20,qk_rope_head_dim=8,freqfold=4,q_lora_rank=9");
  const DoubleVector s =
      Eigen::JacobiSVD<DoubleMatrix>(layer.w.q * layer.y).singularValues();
  EXPECT_NEAR((mla.q_a * layer.y).squaredNorm(), s.head(9).squaredNorm(),
              kTolerance * s.squaredNorm());
}

TEST(OneShotMethods, SizesThatDoNotFitAreRefused) {
  const Layer layer;
  for (const char* text :
       {"mha2mla:kv_lora_rank=20,qk_rope_head_dim=10",
        "mha2mla:kv_lora_rank=20,qk_rope_head_dim=48",
        "mha2mla:kv_lora_rank=85,qk_rope_head_dim=12",
        "mha2mla:kv_lora_rank=21,qk_rope_head_dim=12,svd=split",
        "mha2mla:kv_lora_rank=74,qk_rope_head_dim=12,svd=split",
        "x-ecomla:kv_lora_rank=20,qk_rope_head_dim=16",
        "x-ecomla:kv_lora_rank=20,qk_rope_head_dim=6",
        "care:kv_lora_rank=20,qk_rope_head_dim=6,freqfold=4",
        "care:kv_lora_rank=20,qk_rope_head_dim=8,freqfold=4,q_lora_rank=41"}) {
    EXPECT_EQ(layer.Fit(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

}  // namespace
}  // namespace mla::runtime

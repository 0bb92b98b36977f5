// Methods that keep heads, on random layers: against the definition of
// attention, written as loops, and against what their papers minimise.
#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <algorithm>
#include <complex>
#include <numeric>
#include <random>
#include <vector>

#include "runtime/convert/fit_heads.h"
#include "runtime/convert/head_groups.h"
#include "runtime/convert/head_sizes.h"
#include "tests/support/attention_formulas.h"

namespace mla::runtime {
namespace {

using namespace mla::testing;  // NOLINT: the formulas that are asserted

// Every query head with a KV head of its own, rebuilt from latents.
DoubleMatrix OutputOf(const HeadWeights& h, const std::vector<float>& f,
                      const DoubleMatrix& y) {
  const HeadShape& s = h.shape;
  const int d = s.head_dim;
  const auto rebuilt = [&](const DoubleMatrix& up, const auto& x) {
    return s.k_rank > 0 ? DoubleMatrix(up * x) : DoubleMatrix(x);
  };
  const DoubleMatrix k = rebuilt(h.k_up, h.k), v = rebuilt(h.v_up, h.v);
  const DoubleMatrix k_bias = rebuilt(h.k_up, h.k_bias);
  const DoubleMatrix v_bias = rebuilt(h.v_up, h.v_bias);
  GqaWeights w;
  w.heads = w.kv_heads = s.heads;
  w.head_dim = d;
  w.q = h.q;
  w.q_bias = h.q_bias;
  w.o = h.o;
  w.o_bias = h.o_bias;
  w.k.resize(s.heads * d, k.cols());
  w.v = w.k;
  w.k_bias.resize(s.heads * d);
  w.v_bias = w.k_bias;
  for (int head = 0; head < s.heads; ++head) {
    const int kv = s.kv_head_of.empty() ? head / (s.heads / s.kv_heads)
                                        : s.kv_head_of[head];
    w.k.middleRows(head * d, d) = k.middleRows(kv * d, d);
    w.v.middleRows(head * d, d) = v.middleRows(kv * d, d);
    w.k_bias.segment(head * d, d) = k_bias.middleRows(kv * d, d);
    w.v_bias.segment(head * d, d) = v_bias.middleRows(kv * d, d);
  }
  return GqaOutput(w, f, y);
}

struct Layer {
  GqaWeights w = RandomGqa({12, 6, 16, 100}, true);
  DoubleMatrix y = Inputs(w.hidden());
  std::vector<float> f = Frequencies(w.head_dim);

  HeadFit Fit(ConversionMethod method, int size) const {
    const auto fit = FitHeads(w, MomentsOf(y), method, size);
    EXPECT_TRUE(fit.ok()) << fit.status();
    return fit.ok() ? *fit : HeadFit();
  }
  // Of the output: the largest difference to the source's.
  double Lost(const HeadFit& fit) const {
    return (OutputOf(fit.weights, f, y) - GqaOutput(w, f, y))
        .cwiseAbs()
        .maxCoeff();
  }
};

TEST(Qcqa, HeadsThatAreAlikeShareOneAndNothingIsLost) {
  Layer layer;
  const int d = layer.w.head_dim;
  // 0 = 3 = 4, 1 = 5, and 2 alone: groups of several sizes, out of order.
  const int like[] = {0, 1, 2, 0, 0, 1};
  for (int head = 0; head < 6; ++head) {
    const auto copy = [&](auto& m) {
      m.middleRows(head * d, d) = m.middleRows(like[head] * d, d).eval();
    };
    copy(layer.w.k);
    copy(layer.w.v);
    copy(layer.w.k_bias);
    copy(layer.w.v_bias);
  }
  const HeadFit fit = layer.Fit(ConversionMethod::kQcqa, 3);
  EXPECT_EQ(fit.weights.k.rows(), 3 * d);
  EXPECT_EQ(fit.weights.shape.kv_head_of,
            (std::vector<int>{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2}));
  EXPECT_LT(layer.Lost(fit), kTolerance);
  EXPECT_NEAR(fit.energy_kept, 1, 1e-12);
}

TEST(Qcqa, GroupsOfOneSizeNeedNoMap) {
  const Layer layer;
  const HeadFit fit = layer.Fit(ConversionMethod::kQcqa, 6);
  EXPECT_TRUE(fit.weights.shape.kv_head_of.empty());
  EXPECT_LT(layer.Lost(fit), kTolerance);
}

// The weight-sharing error in the paper's words.
double ErrorInWords(const DoubleMatrix& heads, const HeadGroups& groups) {
  double error = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    DoubleVector mean = DoubleVector::Zero(heads.cols());
    int members = 0;
    for (size_t j = 0; j < groups.size(); ++j) {
      if (groups[j] != groups[i]) continue;
      mean += heads.row(j).transpose();
      ++members;
    }
    error += (heads.row(i).transpose() - mean / members).squaredNorm();
  }
  return error;
}

TEST(HeadGroupsTest, FindTheBestOfAllPartitionsOfClusteredHeads) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const int heads = 6, wanted = 2 + round % 3;
    DoubleMatrix x = RandomMatrix(random, heads, 30);
    for (int i = 0; i < heads; ++i) {  // clusters, well apart
      x.row(i) = 0.3 * x.row(i) + RandomMatrix(random, 1, 30) * 0.1;
      x(i, i % wanted) += 2;
    }
    const DoubleMatrix gram = x * x.transpose();
    const HeadGroups found = GroupHeads(gram, wanted);
    EXPECT_NEAR(SharingError(gram, found), ErrorInWords(x, found), 1e-9);
    double best = ErrorInWords(x, HeadGroups(heads, 0));
    int partitions = 1;
    for (int i = 0; i < heads; ++i) partitions *= wanted;
    for (int code = 0; code < partitions; ++code) {
      HeadGroups groups;
      for (int i = 0, rest = code; i < heads; ++i, rest /= wanted) {
        groups.push_back(rest % wanted);
      }
      best = std::min(best, ErrorInWords(x, groups));
    }
    EXPECT_NEAR(ErrorInWords(x, found), best, 1e-9) << round;
  }
}

TEST(EffKv, AsManyHeadsAsBeforeLoseNothing) {
  const Layer layer;
  const HeadFit fit = layer.Fit(ConversionMethod::kEffKv, 6);
  EXPECT_LT(layer.Lost(fit), kTolerance);
  EXPECT_NEAR(fit.energy_kept, 1, 1e-12);
}

// Heads of a group whose keys differ by a complex factor for each frequency,
// and whose values by a matrix, are one head seen in several ways.
TEST(EffKv, HeadsThatAreOneInTurnsBecomeOneAndNothingIsLost) {
  Layer layer;
  GqaWeights& w = layer.w;
  const int d = w.head_dim, half = d / 2;
  std::mt19937 random(17);
  std::normal_distribution<double> normal;
  for (int head = 0; head < w.kv_heads; ++head) {
    const int base = head / 3 * 3;
    if (head == base) continue;
    const DoubleMatrix map = RandomMatrix(random, d, d);
    w.v.middleRows(head * d, d) = map * w.v.middleRows(base * d, d);
    w.v_bias.segment(head * d, d) = map * w.v_bias.segment(base * d, d);
    for (int f = 0; f < half; ++f) {
      const double a = normal(random), b = normal(random);
      const auto turn = [&](auto& m) {
        const auto re = m.row(base * d + f).eval();
        const auto im = m.row(base * d + half + f).eval();
        m.row(head * d + f) = a * re - b * im;
        m.row(head * d + half + f) = a * im + b * re;
      };
      turn(w.k);
      turn(w.k_bias);
    }
  }
  const HeadFit fit = layer.Fit(ConversionMethod::kEffKv, 2);
  EXPECT_EQ(fit.weights.k.rows(), 2 * d);
  EXPECT_TRUE(fit.weights.shape.kv_head_of.empty());
  EXPECT_LT(layer.Lost(fit), kTolerance);
  EXPECT_NEAR(fit.energy_kept, 1, 1e-9);
}

TEST(EffKv, HeadsThatDoNotDivideAreRefused) {
  const Layer layer;
  const auto fit =
      FitHeads(layer.w, MomentsOf(layer.y), ConversionMethod::kEffKv, 4);
  EXPECT_EQ(fit.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Lorc, FullRankLosesNothing) {
  const Layer layer;
  const int width = layer.w.kv_heads * layer.w.head_dim;
  const HeadFit fit = layer.Fit(ConversionMethod::kLorc, 2 * width);
  EXPECT_LT(layer.Lost(fit), kTolerance);
  EXPECT_NEAR(fit.energy_kept, 1, 1e-12);
}

TEST(Lorc, WeightsAreTheTruncatedSvds) {
  const Layer layer;
  const int rank = 20;
  const HeadWeights h = layer.Fit(ConversionMethod::kLorc, 2 * rank).weights;
  const auto truncated = [&](const DoubleMatrix& w, const DoubleVector& bias) {
    DoubleMatrix all(w.rows(), w.cols() + 1);
    all << w, bias;
    const Eigen::JacobiSVD<DoubleMatrix> svd(
        all, Eigen::ComputeThinU | Eigen::ComputeThinV);
    return DoubleMatrix(svd.matrixU().leftCols(rank) *
                        svd.singularValues().head(rank).asDiagonal() *
                        svd.matrixV().leftCols(rank).transpose());
  };
  const auto kept = [](const DoubleMatrix& up, const DoubleMatrix& down,
                       const DoubleVector& bias) {
    DoubleMatrix all(up.rows(), down.cols() + 1);
    all << up * down, up * bias;
    return all;
  };
  EXPECT_LT((truncated(layer.w.k, layer.w.k_bias) - kept(h.k_up, h.k, h.k_bias))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
  EXPECT_LT((truncated(layer.w.v, layer.w.v_bias) - kept(h.v_up, h.v, h.v_bias))
                .cwiseAbs()
                .maxCoeff(),
            kTolerance);
}

// kappa~_l = the product of kappa_j, j >= l;
// d_l = d_max (1 - (max log - log_l) / (max log - min log) (1 - d_min/d_max)).
TEST(Lorc, LaterLayersKeepLessAsThePaperHasIt) {
  const std::vector<double> logs = {1.5, 0.25, 3, 2, 0.75};
  const int mean = 80, most = 400;
  const std::vector<int> sizes = ProgressiveSizes(logs, mean, most);
  const double d_min = sizes.back(), d_max = sizes.front();
  EXPECT_EQ(d_min, mean / 2);
  std::vector<double> cumulative(logs.size());
  for (size_t l = 0; l < logs.size(); ++l) {
    cumulative[l] = std::accumulate(logs.begin() + l, logs.end(), 0.0);
  }
  const double high = cumulative.front(), low = cumulative.back();
  for (size_t l = 0; l < logs.size(); ++l) {
    const double share = (high - cumulative[l]) / (high - low);
    EXPECT_NEAR(sizes[l], d_max * (1 - share * (1 - d_min / d_max)), 1);
  }
  const int sum = std::accumulate(sizes.begin(), sizes.end(), 0);
  EXPECT_LE(sum, mean * 5);
  EXPECT_GT(sum, mean * 5 - 5);
}

TEST(Lorc, NoLayerKeepsMoreThanThereIs) {
  const std::vector<double> logs = {1, 1, 1, 1};
  EXPECT_EQ(ProgressiveSizes(logs, 100, 100), std::vector<int>(4, 100));
  const std::vector<int> sizes = ProgressiveSizes(logs, 90, 100);
  EXPECT_EQ(sizes.front(), 100);
  EXPECT_LE(std::accumulate(sizes.begin(), sizes.end(), 0), 360);
}

}  // namespace
}  // namespace mla::runtime

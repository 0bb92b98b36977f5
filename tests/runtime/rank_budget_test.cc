#include "runtime/convert/rank_budget.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

namespace mla::runtime {
namespace {

LayerWorth Layer(double share, int components, double decay) {
  LayerWorth layer{share, DoubleVector(components)};
  for (int i = 0; i < components; ++i) layer.spectrum[i] = std::pow(decay, i);
  return layer;
}

// What all layers lose, in the words of the header.
double Lost(const std::vector<LayerWorth>& layers,
            const std::vector<int>& ranks) {
  double lost = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const DoubleVector& s = layers[i].spectrum;
    lost += layers[i].share * s.tail(s.size() - ranks[i]).sum() / s.sum();
  }
  return lost;
}

TEST(RankBudgetTest, EqualLayersGetTheSame) {
  const std::vector<LayerWorth> layers(5, Layer(2, 64, 0.9));
  EXPECT_EQ(AllocateRanks(layers, 16), std::vector<int>(5, 16));
}

TEST(RankBudgetTest, LayersThatNeedAndCountMoreGetMore) {
  const std::vector<int> ranks = AllocateRanks(
      {{Layer(1, 64, 0.9), Layer(1, 64, 0.98), Layer(9, 64, 0.9)}}, 24);
  EXPECT_GT(ranks[1], ranks[0]);
  EXPECT_GT(ranks[2], ranks[0]);
}

// Energies of a spectrum never increase, so greedy steps are the best of all
// ways to share: no step moved from one layer to another loses less.
TEST(RankBudgetTest, KeepsTheBudgetAndNoMoveLosesLess) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> any(0.05, 1);
  for (int round = 0; round < 50; ++round) {
    std::vector<LayerWorth> layers;
    for (int i = 0; i < 6; ++i) {
      layers.push_back(Layer(any(random), 40 + 8 * i, 0.8 + any(random) / 5));
    }
    const int mean = 8 + round % 30;
    std::vector<int> ranks = AllocateRanks(layers, mean);
    const int sum = std::accumulate(ranks.begin(), ranks.end(), 0);
    EXPECT_LE(sum, mean * 6);
    EXPECT_GT(sum, mean * 6 - 4);
    const double lost = Lost(layers, ranks);
    for (int from = 0; from < 6; ++from) {
      EXPECT_GE(ranks[from], mean / 4);
      for (int to = 0; to < 6; ++to) {
        if (from == to || ranks[from] - 4 < mean / 4) continue;
        if (ranks[to] + 4 > layers[to].spectrum.size()) continue;
        std::vector<int> moved = ranks;
        moved[from] -= 4;
        moved[to] += 4;
        EXPECT_GE(Lost(layers, moved), lost - 1e-12);
      }
    }
  }
}

TEST(RankBudgetTest, GivesNoLayerMoreThanItHas) {
  const std::vector<int> ranks =
      AllocateRanks({{Layer(100, 12, 0.99), Layer(1, 64, 0.9)}}, 20);
  EXPECT_LE(ranks[0], 12);
  EXPECT_GT(ranks[1], 20);
}

}  // namespace
}  // namespace mla::runtime

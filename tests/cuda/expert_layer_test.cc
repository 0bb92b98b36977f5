// All kernels of a mixture of experts together, against a loop over tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda_host/moe_fixture.h"
#include "kernels/cuda/launch/moe.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::NearestBf16;
using cuda_host::Padded;
using mla::testing::RandomFloats;

// A layer of experts, and ids past them that return the row.
struct Layer {
  int experts, identities, hidden, inner;
  RouterArgs router;
  std::vector<float> gate_up = {}, down = {};

  void Fill() {
    gate_up = RandomFloats(size_t(experts) * 2 * inner * hidden, 1, 0.2f);
    down = RandomFloats(size_t(experts) * hidden * inner, 2, 0.2f);
  }
};

class ExpertLayer : public cuda_host::MoeFixture {
 protected:
  struct Result {
    std::vector<int32_t> experts;
    std::vector<float> weights, y;
  };
  static Result Run(const Layer& layer, const std::vector<float>& logits,
                    const std::vector<float>& x) {
    const int hidden = layer.hidden, inner = layer.inner;
    const int top_k = layer.router.top_k;
    const int rows = static_cast<int>(x.size()) / hidden, pairs = rows * top_k;
    const int scores = layer.experts + layer.identities;
    RouteArgs route;
    route.logits = RowsToDevice(logits, rows, scores, scores + 3);
    route.router = layer.router;
    route.experts = ToDevice(std::vector<int32_t>(pairs));
    route.weights = ToDevice(std::vector<float>(pairs));
    EXPECT_EQ(LaunchRoute(route, nullptr), cudaSuccess);

    const int tile_rows = ExpertTileRows(pairs, layer.experts);
    const int tiles = MaxExpertTiles(pairs, layer.experts, tile_rows);
    SortArgs sort{route.experts, pairs, layer.experts, tile_rows};
    sort.position = ToDevice(std::vector<int32_t>(pairs));
    sort.tiles = ToDevice(std::vector<ExpertTile>(tiles));
    sort.max_tiles = tiles;
    EXPECT_EQ(LaunchSort(sort, nullptr), cudaSuccess);

    SpreadArgs spread;
    spread.x = RowsToDevice(x, rows, hidden, hidden + 1);
    spread.top_k = top_k;
    spread.position = sort.position;
    spread.stride = Padded(hidden);
    // Whatever stands in rows that nobody has may be NaN.
    spread.sorted =
        ToDevice(std::vector<uint16_t>(size_t(pairs) * spread.stride, 0x7fff));
    EXPECT_EQ(LaunchSpread(spread, nullptr), cudaSuccess);

    ExpertGemmArgs gates;
    gates.x = spread.sorted;
    gates.x_stride = gates.w_stride = spread.stride;
    gates.w = Weights(layer.gate_up, layer.experts, hidden, Padded(hidden));
    gates.n = 2 * inner;
    gates.k = hidden;
    gates.tiles = sort.tiles;
    gates.num_tiles = tiles;
    gates.tile_rows = tile_rows;
    gates.y = ToDevice(std::vector<float>(size_t(pairs) * gates.n, NAN));
    EXPECT_EQ(LaunchExpertGemm(gates, nullptr), cudaSuccess);

    ExpertActivateArgs activate;
    activate.x = {gates.y, pairs, gates.n, size_t(gates.n)};
    activate.stride = Padded(inner);
    activate.sorted =
        ToDevice(std::vector<uint16_t>(size_t(pairs) * activate.stride));
    EXPECT_EQ(LaunchExpertActivate(activate, nullptr), cudaSuccess);

    ExpertGemmArgs down = gates;
    down.x = activate.sorted;
    down.x_stride = down.w_stride = activate.stride;
    down.w = Weights(layer.down, layer.experts, inner, Padded(inner));
    down.n = hidden;
    down.k = inner;
    down.y = ToDevice(std::vector<float>(size_t(pairs) * hidden, NAN));
    EXPECT_EQ(LaunchExpertGemm(down, nullptr), cudaSuccess);

    ExpertSumArgs sum;
    sum.x = spread.x;
    sum.y = {ToDevice(std::vector<float>(x.size())), rows, hidden,
             size_t(hidden)};
    sum.top_k = top_k;
    sum.position = sort.position;
    sum.weights = route.weights;
    sum.results = down.y;
    EXPECT_EQ(LaunchExpertSum(sum, nullptr), cudaSuccess);
    return {ToHost(route.experts, pairs), ToHost(route.weights, pairs),
            ToHost(sum.y.data, x.size())};
  }

  // y += weight * expert(x), and error grows by what that may be off by:
  // rounding to bf16 changes 2^-8 at most of what is rounded, a sum of n
  // products n 2^-23 of their magnitudes; silu's slope is at most 1.1.
  static void AddExpert(const Layer& layer, int e, double weight,
                        const float* x, double* y, double* error) {
    constexpr double kBf16 = 0x1.0p-8;
    const int hidden = layer.hidden, inner = layer.inner;
    std::vector<double> activated(inner), off(inner);
    for (int i = 0; i < inner; ++i) {
      double sum[2] = {0, 0}, sum_off[2] = {0, 0};
      for (int part = 0; part < 2; ++part) {
        const float* w =
            &layer
                 .gate_up[(size_t(e) * 2 + part) * inner * hidden + i * hidden];
        for (int h = 0; h < hidden; ++h) {
          const double term = double{NearestBf16(w[h])} * x[h];
          sum[part] += term;
          sum_off[part] += std::fabs(term) * (kBf16 + hidden * 0x1.0p-23);
        }
      }
      const double silu = sum[0] / (1 + std::exp(-sum[0]));
      activated[i] = silu * sum[1];
      off[i] = 1.1 * sum_off[0] * (std::fabs(sum[1]) + sum_off[1]) +
               std::fabs(silu) * sum_off[1];
      off[i] += (kBf16 + 0x1.0p-20) * (std::fabs(activated[i]) + off[i]);
    }
    for (int h = 0; h < hidden; ++h) {
      const float* w = &layer.down[(size_t(e) * hidden + h) * inner];
      for (int i = 0; i < inner; ++i) {
        const double v = NearestBf16(w[i]);
        y[h] += weight * v * activated[i];
        error[h] += std::fabs(weight * v) *
                    (off[i] + (inner + layer.router.top_k + 1) * 0x1.0p-23 *
                                  (std::fabs(activated[i]) + off[i]));
      }
    }
  }

  static void ExpectLayer(const Layer& layer, const std::vector<float>& x,
                          const Result& result) {
    const int hidden = layer.hidden, top_k = layer.router.top_k;
    const int rows = static_cast<int>(x.size()) / hidden;
    for (int row = 0; row < rows; ++row) {
      std::vector<double> y(hidden), error(hidden);
      for (int i = row * top_k; i < (row + 1) * top_k; ++i) {
        const double weight = result.weights[i];
        const float* in = &x[size_t(row) * hidden];
        if (result.experts[i] < layer.experts) {
          AddExpert(layer, result.experts[i], weight, in, y.data(),
                    error.data());
          continue;
        }
        for (int h = 0; h < hidden; ++h) {
          y[h] += weight * in[h];
          error[h] += (top_k + 1) * 0x1.0p-24 * std::fabs(weight * in[h]);
        }
      }
      for (int h = 0; h < hidden; ++h) {
        ASSERT_NEAR(result.y[row * hidden + h], y[h], error[h])
            << row << " " << h;
      }
    }
  }
};

TEST_F(ExpertLayer, IsALoopOverTokens) {
  // The second has experts that return the row.
  for (Layer layer : {Layer{5, 0, 24, 18, {.top_k = 2, .normalize = true}},
                      Layer{7, 4, 75, 33, {.top_k = 4, .scale = 3.0f}}}) {
    layer.Fill();
    for (const int rows : {1, 3, 67}) {
      const int scores = layer.experts + layer.identities;
      const auto x = RandomFloats(size_t(rows) * layer.hidden, 3);
      const auto logits = RandomFloats(size_t(rows) * scores, 4);
      const Result result = Run(layer, logits, x);
      ExpectLayer(layer, x, result);
      // A row by itself.
      const int row = rows / 2;
      const Result single = Run(
          layer,
          {logits.begin() + row * scores, logits.begin() + (row + 1) * scores},
          {x.begin() + row * layer.hidden,
           x.begin() + (row + 1) * layer.hidden});
      EXPECT_TRUE(std::equal(single.y.begin(), single.y.end(),
                             result.y.begin() + row * layer.hidden));
      Restart();
      if (HasFailure()) FAIL() << rows << " rows";
    }
  }
}

}  // namespace
}  // namespace mla::kernels::cuda

// Experts' linear layers on tensor cores: products against a double loop, what
// is read and written, the same bits in every tile.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "cuda_host/moe_fixture.h"
#include "kernels/cuda/launch/moe.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Engine;
using cuda_host::NearestBf16;
using cuda_host::Pad;
using cuda_host::Padded;
using mla::testing::RandomFloats;

class ExpertGemm : public cuda_host::MoeFixture {
 protected:
  struct Problem {
    int n, k;
    int experts = 3;
    int sorted_rows = 0;
    std::vector<ExpertTile> tiles = {};
    int more = 0;  // of the strides, in chunks of 8

    int stride() const { return Padded(k) + more * 8; }
  };

  static std::vector<float> Multiply(const Problem& p,
                                     const std::vector<float>& x,
                                     const std::vector<float>& w) {
    ExpertGemmArgs args;
    args.x = ToDevice(Pad(x, p.k, p.stride()));
    args.x_stride = args.w_stride = p.stride();
    args.w = Weights(w, p.experts, p.k, p.stride());
    args.n = p.n;
    args.k = p.k;
    args.tiles = ToDevice(p.tiles);
    args.num_tiles = static_cast<int32_t>(p.tiles.size());
    const size_t results = size_t(p.sorted_rows) * p.n;
    args.y = ToDevice(std::vector<float>(results, kKept));
    EXPECT_EQ(LaunchExpertGemm(args, nullptr), cudaSuccess);
    return ToHost(args.y, results);
  }

  // Rows in no tile keep what they have. Bound: each of the at most k additions
  // is off by an ulp of what it has so far, for tensor cores may cut off;
  // products of bf16 are exact.
  static void ExpectProducts(const Problem& p, const std::vector<float>& x,
                             const std::vector<float>& w,
                             const std::vector<float>& y) {
    std::vector<int> expert(p.sorted_rows, -1);
    for (const ExpertTile& tile : p.tiles) {
      std::fill_n(expert.begin() + tile.row0, tile.rows, tile.expert);
    }
    for (int row = 0; row < p.sorted_rows; ++row) {
      for (int i = 0; i < p.n; ++i) {
        const float found = y[size_t(row) * p.n + i];
        if (expert[row] < 0) {
          ASSERT_EQ(found, kKept) << row << " " << i;
          continue;
        }
        double sum = 0, magnitude = 0;
        for (int k = 0; k < p.k; ++k) {
          const double term =
              double{NearestBf16(x[size_t(row) * p.k + k])} *
              NearestBf16(w[(size_t(expert[row]) * p.n + i) * p.k + k]);
          sum += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(found, sum, p.k * 0x1.0p-23 * magnitude) << row << " " << i;
      }
    }
  }
};

TEST_F(ExpertGemm, MultipliesTilesOfEveryShape) {
  // Tiles of whole, single and no rows, sorted rows in no tile.
  const std::vector<ExpertTile> tiles = {{0, 0, 16}, {0, 16, 1}, {2, 20, 15},
                                         {1, 36, 7}, {0, 0, 0},  {9, 99, 0}};
  for (const auto& [n, k, more] :
       {std::array{1, 1, 0}, std::array{7, 7, 1}, std::array{33, 72, 0},
        std::array{64, 64, 0}, std::array{65, 136, 2}, std::array{130, 321, 0},
        std::array{3, 1030, 0}}) {
    Problem p{n, k};
    p.more = more;
    p.sorted_rows = 45;
    p.tiles = tiles;
    const auto x = RandomFloats(size_t(p.sorted_rows) * k, 1);
    const auto w = RandomFloats(size_t(p.experts) * n * k, 2);
    const bool is_small = n * k < 3000;
    const auto multiply = [&] { return Multiply(p, x, w); };
    ExpectProducts(p, x, w, is_small ? InEveryOrder(multiply) : multiply());
    Restart();
    if (HasFailure()) FAIL() << n << " outputs of " << k;
  }
}

// Steps enough that every place in shared memory is used again.
TEST_F(ExpertGemm, NoOrderOfThreadsAndCopiesMatters) {
  Problem p{70, 700};
  p.sorted_rows = 5;
  p.tiles = {{2, 0, 5}};
  const auto x = RandomFloats(size_t(p.sorted_rows) * p.k, 1);
  const auto w = RandomFloats(size_t(p.experts) * p.n * p.k, 2);
  const std::vector<float> late =
      InEveryOrder([&] { return Multiply(p, x, w); });
  Engine::Get().set_schedule({.eager_copies = true});
  EXPECT_TRUE(SameBits(Multiply(p, x, w), late));
}

// What is there is read once for each block that needs it, nothing else, and
// shared memory gives it without bank conflicts.
TEST_F(ExpertGemm, ReadsWhatThereIs) {
  if (!cuda_host::kCounts) GTEST_SKIP() << "a GPU counts nothing";
  Problem p{100, 200};
  p.more = 1;
  p.sorted_rows = 20;
  p.tiles = {{0, 0, 16}, {1, 16, 3}, {0, 0, 0}};
  Engine::Get().ResetCounters();
  Multiply(p, RandomFloats(size_t(20) * p.k, 1),
           RandomFloats(size_t(3) * p.n * p.k, 2));
  const Engine::Counters& counters = Engine::Get().counters();
  // Of two blocks along n each: rows twice, and each of the tile's outputs.
  EXPECT_EQ(counters.copy_async_bytes, (2 * (16 + 3) + 2 * 100) * 200u * 2);
  EXPECT_EQ(counters.load_matrix_extra_wavefronts, 0u);
  // Four steps of 64 for 128 outputs, and k16 by n8 of each.
  EXPECT_EQ(counters.mma, 2u * 4 * 4 * 16);
}

TEST_F(ExpertGemm, ARowHasTheSameBitsInEveryTile) {
  Problem p{66, 600};
  p.experts = 1;
  p.sorted_rows = 37;
  p.tiles = {{0, 0, 16}, {0, 16, 16}, {0, 32, 5}};
  const auto x = RandomFloats(size_t(p.sorted_rows) * p.k, 1);
  const auto w = RandomFloats(size_t(p.n) * p.k, 2);
  const std::vector<float> y = Multiply(p, x, w);
  Problem single = p;
  single.sorted_rows = 1;
  single.tiles = {{0, 0, 1}};
  for (const int row : {0, 7, 16, 31, 36}) {
    const std::vector<float> alone = Multiply(
        single, {x.begin() + row * p.k, x.begin() + (row + 1) * p.k}, w);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), y.begin() + row * p.n));
  }
  // All rows in other places of other tiles.
  p.tiles = {{0, 32, 5}, {0, 0, 3}, {0, 3, 16}, {0, 19, 13}};
  EXPECT_TRUE(SameBits(Multiply(p, x, w), y));
}

TEST_F(ExpertGemm, NaNStaysInItsRow) {
  Problem p{40, 90};
  p.sorted_rows = 16;
  p.tiles = {{1, 0, 16}};
  auto x = RandomFloats(size_t(16) * p.k, 1);
  const auto w = RandomFloats(size_t(3) * p.n * p.k, 2);
  const std::vector<float> clean = Multiply(p, x, w);
  x[5 * p.k + 17] = INFINITY;
  x[9 * p.k + 89] = INFINITY;
  x[9 * p.k + 3] = -INFINITY;
  const std::vector<float> y = Multiply(p, x, w);
  for (int i = 0; i < 16 * p.n; ++i) {
    if (i / p.n == 5 || i / p.n == 9) {
      ASSERT_FALSE(std::isfinite(y[i]));
    } else {
      ASSERT_EQ(y[i], clean[i]);
    }
  }
}

TEST_F(ExpertGemm, NoTilesLaunchNothing) {
  EXPECT_EQ(LaunchExpertGemm(ExpertGemmArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

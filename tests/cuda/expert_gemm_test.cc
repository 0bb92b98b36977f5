// Experts' linear layers on tensor cores: products against a double loop, what
// is read and written, the same bits in every tile.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
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
    int tile_rows = 16;
    bool codes = false;

    int stride() const { return Padded(k) + more * 8; }
  };

  // Codes and scales of every kind, which w holds multiplied; NaN codes where
  // nothing is to be read.
  static std::vector<unsigned char> Codes(const RowFormat& format, int rows,
                                          uint32_t seed,
                                          std::vector<float>& w) {
    std::vector<unsigned char> bytes(size_t(rows) * format.bytes, 0x7f);
    std::mt19937 random(seed);
    for (int row = 0; row < rows; ++row) {
      unsigned char* at = &bytes[size_t(row) * format.bytes];
      auto* scales = reinterpret_cast<float*>(at + format.scales_at);
      for (int k = 0; k < format.width; ++k) {
        float& scale = scales[k / kRowScaleElements];
        if (k % kRowScaleElements == 0) {
          scale = std::ldexp(1.0f + random() % 1000 / 1000.0f,
                             static_cast<int>(random() % 9) - 12);
        }
        at[k] =
            static_cast<unsigned char>(random() % 0x7f | (random() % 2 << 7));
        w.push_back(scale * FromF8E4M3(at[k]));
      }
    }
    return bytes;
  }

  static std::vector<float> Multiply(const Problem& p,
                                     const std::vector<float>& x,
                                     const std::vector<float>& w) {
    ExpertGemmArgs args;
    args.x = ToDevice(Pad(x, p.k, p.stride()));
    args.x_stride = args.w_stride = p.stride();
    if (!p.codes) args.w = Weights(w, p.experts, p.k, p.stride());
    args.n = p.n;
    args.k = p.k;
    args.tiles = ToDevice(p.tiles);
    args.num_tiles = static_cast<int32_t>(p.tiles.size());
    args.tile_rows = p.tile_rows;
    if (p.codes) {
      args.format = RowFormatOf(p.k, DType::kF8E4M3);
      std::vector<unsigned char*> of;
      std::vector<float> values;
      for (int e = 0; e < p.experts; ++e) {
        of.push_back(ToDevice(Codes(args.format, p.n, 7 + e, values)));
      }
      EXPECT_TRUE(SameBits(values, w));
      args.codes = ToDevice(of);
    }
    const size_t results = size_t(p.sorted_rows) * p.n;
    args.y = ToDevice(std::vector<float>(results, kKept));
    EXPECT_EQ(LaunchExpertGemm(args, nullptr), cudaSuccess);
    return ToHost(args.y, results);
  }

  // The values that Multiply has for weights.
  static std::vector<float> CodesOf(const Problem& p) {
    std::vector<float> w;
    for (int e = 0; e < p.experts; ++e) {
      Codes(RowFormatOf(p.k, DType::kF8E4M3), p.n, 7 + e, w);
    }
    return w;
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
          const float weight = w[(size_t(expert[row]) * p.n + i) * p.k + k];
          const double term = double{NearestBf16(x[size_t(row) * p.k + k])} *
                              (p.codes ? weight : NearestBf16(weight));
          sum += term;
          magnitude += std::fabs(term);
        }
        const int roundings = p.k + (p.codes ? 2 : 0);
        ASSERT_NEAR(found, sum, roundings * 0x1.0p-23 * magnitude)
            << row << " " << i;
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

// Scales are not rounded, nor products with them: the bound is the same but for
// a rounding of the scaled sums and of the values that the loop multiplies.
TEST_F(ExpertGemm, MultipliesCodes) {
  const std::vector<ExpertTile> tiles = {{0, 0, 16}, {0, 16, 1}, {2, 20, 15},
                                         {1, 36, 7}, {0, 0, 0},  {9, 99, 0}};
  for (const auto& [n, k] :
       {std::array{1, 1}, std::array{7, 15}, std::array{33, 72},
        std::array{64, 128}, std::array{65, 136}, std::array{130, 321},
        std::array{3, 1030}}) {
    for (const int tile_rows : {16, 64}) {
      Problem p{n, k};
      p.codes = true;
      p.tile_rows = tile_rows;
      p.sorted_rows = 45;
      p.tiles = tiles;
      if (tile_rows == 64) p.tiles = {{1, 1, 40}, {0, 43, 2}};
      const auto x = RandomFloats(size_t(p.sorted_rows) * k, 1);
      const auto w = CodesOf(p);
      const bool is_small = n * k < 3000;
      const auto multiply = [&] { return Multiply(p, x, w); };
      ExpectProducts(p, x, w, is_small ? InEveryOrder(multiply) : multiply());
      Restart();
      if (HasFailure()) FAIL() << n << " outputs of " << k;
    }
  }
}

// A row's bits are not a matter of the tile's size, nor of tiles at all.
TEST_F(ExpertGemm, LargeTilesGiveTheBitsOfSmallOnes) {
  for (const bool codes : {false, true}) {
    Problem p{70, 300};
    p.codes = codes;
    p.experts = 1;
    p.sorted_rows = 77;
    p.tiles = {{0, 0, 16}, {0, 16, 16}, {0, 32, 16}, {0, 48, 16}, {0, 64, 13}};
    const auto x = RandomFloats(size_t(p.sorted_rows) * p.k, 1);
    const auto w = codes ? CodesOf(p) : RandomFloats(size_t(p.n) * p.k, 2);
    const std::vector<float> small = Multiply(p, x, w);
    p.tile_rows = 64;
    p.tiles = {{0, 0, 64}, {0, 64, 13}};
    EXPECT_TRUE(
        SameBits(InEveryOrder([&] { return Multiply(p, x, w); }), small));
    ExpectProducts(p, x, w, small);
  }
}

TEST_F(ExpertGemm, ALayerWithoutExperts) {
  Problem p{70, 300};
  p.codes = true;
  p.experts = 1;
  p.sorted_rows = 77;
  for (int row = 0; row < 77; row += 16) {
    p.tiles.push_back({0, row, std::min(16, 77 - row)});
  }
  const auto x = RandomFloats(size_t(p.sorted_rows) * p.k, 1);
  const auto bias = RandomFloats(p.n, 3);
  const std::vector<float> y = Multiply(p, x, CodesOf(p));
  ExpertGemmArgs args;
  args.x = ToDevice(Pad(x, p.k, p.stride()));
  args.x_stride = p.stride();
  args.n = p.n;
  args.k = p.k;
  args.format = RowFormatOf(p.k, DType::kF8E4M3);
  std::vector<float> values;
  args.only = ToDevice(Codes(args.format, p.n, 7, values));
  args.rows = p.sorted_rows;
  args.y_stride = p.n + 5;
  args.bias = ToDevice(bias);
  for (const int tile_rows : {16, 64}) {
    args.tile_rows = tile_rows;
    args.y = ToDevice(
        std::vector<float>(size_t(p.sorted_rows) * args.y_stride, kKept));
    EXPECT_EQ(LaunchExpertGemm(args, nullptr), cudaSuccess);
    const auto found = ToHost(args.y, size_t(p.sorted_rows) * args.y_stride);
    for (int row = 0; row < p.sorted_rows; ++row) {
      for (int i = 0; i < args.y_stride; ++i) {
        ASSERT_EQ(found[row * args.y_stride + i],
                  i < p.n ? y[row * p.n + i] + bias[i] : kKept)
            << row << " " << i;
      }
    }
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
  ExpertGemmArgs odd;
  odd.tile_rows = 32;
  EXPECT_EQ(LaunchExpertGemm(odd, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

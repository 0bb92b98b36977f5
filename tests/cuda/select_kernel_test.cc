// Selection by the indexer, against its definition and with all that scores may
// be: see tests/support/cuda_host/select_case.h, also for the tolerance.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/every_order.h"
#include "cuda_host/select_case.h"
#include "kernels/cuda/launch/cache.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::SelectCase;
using cuda_host::Selected;

void Check(SelectCase c) {
  SCOPED_TRACE(std::to_string(c.heads) + " heads of " +
               std::to_string(c.length) + (c.f32 ? " f32" : " bf16"));
  c.Fill(5);
  const Selected found = c.Run();
  for (int row = 0; row < c.rows(); ++row) CheckRow(c, found, row);
}

// Positions around what a warp, a block and top_k take at once.
std::vector<int32_t> Positions(int rows, int top_k, int max_tokens) {
  const std::vector<int32_t> edges = {
      max_tokens - 1, top_k, -1, top_k - 1, top_k + 31, max_tokens / 2, 0};
  std::vector<int32_t> positions;
  for (int i = 0; i < rows; ++i) {
    positions.push_back(
        std::min(i < 7 ? edges[i] : i * 37 % max_tokens, max_tokens - 1));
  }
  return positions;
}

TEST(SelectKernel, ScoresAndChoosesByDefinition) {
  // By element, at odd places; in chunks of 16 bytes; of float32; more heads
  // and longer keys than are staged at once.
  Check({5, 20, 7, 33, false, false, 37, 150, 16, Positions(67, 37, 150)});
  for (const int rows : {1, 7}) {
    Check({3, 16, 8, 32, false, false, 7, 1100, 16, Positions(rows, 7, 1100)});
    Check({2, 7, 1, 9, true, false, 33, 1100, 5, Positions(rows, 33, 1100)});
    Check({17, 136, 8, 152, false, false, 33, 70, 16, Positions(rows, 33, 70)});
    Check({18, 131, 3, 135, true, false, 64, 70, 64, Positions(rows, 64, 70)});
  }
}

TEST(SelectKernel, TiesGoToTheEarlierToken) {
  for (const int top_k : {1, 31, 100, 1023}) {
    for (const int n : {1024, 1025, 2500}) {
      Check({2, 3, 1, 5, false, true, top_k, n, 16, Positions(5, top_k, n)});
    }
  }
  // Scores that are all the same: no weight, so all are 0 or -0.
  SelectCase c = {2, 3, 1, 5, false, true, 50, 1100, 16, {1099, 1000}};
  c.Fill(3);
  for (float& w : c.weights) w = std::copysign(std::isnan(w) ? NAN : 0.0f, w);
  const Selected found = c.Run();
  for (int row = 0; row < 2; ++row) CheckRow(c, found, row);
  EXPECT_EQ(found.selected[49], 49);
}

TEST(SelectKernel, MoreTilesThanThreadBlocks) {
  // 1024 blocks at most: each of 300 rows has 4, for 6 tiles.
  std::vector<int32_t> positions(300, -1);
  positions[0] = positions[299] = 1399;
  Check({2, 3, 1, 5, false, true, 40, 1400, 16, positions});
}

TEST(SelectKernel, NanIsBelowAllAndStaysInItsRow) {
  SelectCase c = {3,    8,  0,   8,  false,
                  true, 40, 300, 16, {299, 299, 299, 299, 60}};
  c.sequences = 1;
  c.Fill(8);
  const Selected before = c.Run();
  const size_t query = size_t(c.query_stride());
  std::fill_n(c.queries.begin() + query, c.heads * c.length, NAN);
  c.weights[size_t(2) * c.weight_stride() + 1] = NAN;
  Selected found = c.Run();
  for (const int row : {1, 2}) {  // all scores are NaN: the earliest
    std::vector<int32_t> first(c.top_k);
    std::iota(first.begin(), first.end(), 0);
    EXPECT_EQ(Chosen(c, found, row, c.top_k), first);
  }
  for (const int row : {0, 3, 4}) {
    EXPECT_EQ(Chosen(c, found, row, c.top_k), Chosen(c, before, row, c.top_k));
  }
  // Keys: first few, then so many that top_k numbers are not left.
  for (const int nans : {3, 270}) {
    for (int t = 0; t < nans; ++t) c.Key(0, t * 7 % 300, t % c.length) = NAN;
    c.StoreKeys();
    found = c.Run();
    for (const int row : {0, 3, 4}) CheckRow(c, found, row);
  }
}

TEST(SelectKernel, InfinitiesAreNumbers) {
  SelectCase c = {2, 8, 0, 8, false, true, 4, 100, 16, {99}};
  c.Fill(9);
  for (int i = 0; i < 8; ++i) c.queries[i] = c.queries[8 + i] = 1.0f;
  c.weights[0] = 2.0f;
  c.weights[1] = 1.0f;
  c.Key(0, 70, 3) = c.Key(0, 12, 1) = INFINITY;
  c.Key(0, 20, 2) = -INFINITY;  // relu makes it 0
  c.StoreKeys();
  const Selected found = c.Run();
  const std::vector<int32_t> chosen = Chosen(c, found, 0, 4);
  for (const int t : {12, 70}) {
    EXPECT_EQ(std::count(chosen.begin(), chosen.end(), t), 1);
    EXPECT_EQ(found.scores[t], INFINITY);
  }
  EXPECT_EQ(found.scores[20], 0.0f);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

TEST(SelectKernel, TheSameInEveryOrder) {
  SelectCase c = {5, 20, 7, 33, false, true, 37, 1100, 16, {1099, 400, -1, 38}};
  c.Fill(4);
  const Selected found = c.Run();
  for (const cuda_host::Schedule& schedule : cuda_host::kSchedules) {
    const Selected other = c.Run(0, c.rows(), schedule);
    EXPECT_EQ(other.selected, found.selected);
    EXPECT_TRUE(SameBits(other.scores, found.scores));
  }
}

TEST(SelectKernel, ARowIsTheSameAlone) {
  SelectCase c = {5,     20, 7,   33, false,
                  false, 37, 300, 16, Positions(11, 37, 300)};
  c.Fill(6);
  const Selected found = c.Run();
  for (int row = 0; row < c.rows(); ++row) {
    const Selected alone = c.Run(row, 1);
    EXPECT_EQ(alone.selected, Chosen(c, found, row, c.top_k));
    const auto scores = found.scores.begin() + int64_t{row} * c.max_tokens;
    EXPECT_TRUE(SameBits(alone.scores, {scores, scores + c.max_tokens}));
  }
}

TEST(SelectKernel, LaunchesOnlyWhatIsNeeded) {
  if (!cuda_host::kCounts) GTEST_SKIP() << "a GPU counts nothing";
  SelectCase c = {2, 8, 0, 8, false, false, 40, 40, 16, {39, 12}};
  c.Fill(1);
  c.Run();  // nobody can see more than top_k
  EXPECT_EQ(cuda_host::GetCounters().launches_executed, 1);
  EXPECT_EQ(cuda_host::ExecutedLaunches("ScoreKernel"), 0);
  c.max_tokens = 41;
  c.positions = {40, 40};
  c.Fill(1);
  c.Run();
  EXPECT_EQ(cuda_host::ExecutedLaunches("ScoreKernel<true>"), 1);
  c.offset = 1;
  c.width = 9;
  c.Fill(1);
  c.Run();
  EXPECT_EQ(cuda_host::ExecutedLaunches("ScoreKernel<false>"), 1);

  cuda_host::ResetDevice();
  EXPECT_EQ(LaunchSelect(SelectArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

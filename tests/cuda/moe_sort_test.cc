// Sorting by expert, and the tiles of sorted rows, against a stable sort.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "cuda_host/moe_fixture.h"
#include "kernels/cuda/launch/moe.h"

namespace mla::kernels::cuda {
namespace {

class MoeSort : public cuda_host::MoeFixture {
 protected:
  // Positions, then each tile's expert, first row and rows.
  static std::vector<int32_t> Sort(const std::vector<int32_t>& ids, int experts,
                                   int tile_rows, int max_tiles) {
    const size_t pairs = ids.size();
    SortArgs args;
    args.experts = ToDevice(ids);
    args.pairs = static_cast<int32_t>(pairs);
    args.num_experts = experts;
    args.tile_rows = tile_rows;
    args.position = ToDevice(std::vector<int32_t>(pairs + 1, kKeptInt));
    args.tiles = ToDevice(std::vector<ExpertTile>(
        size_t(max_tiles) + 1, {kKeptInt, kKeptInt, kKeptInt}));
    args.max_tiles = max_tiles;
    EXPECT_EQ(LaunchSort(args, nullptr), cudaSuccess);
    std::vector<int32_t> found = ToHost(args.position, pairs + 1);
    EXPECT_EQ(found.back(), kKeptInt);
    found.pop_back();
    for (const ExpertTile& t : ToHost(args.tiles, size_t(max_tiles) + 1)) {
      found.insert(found.end(), {t.expert, t.row0, t.rows});
    }
    EXPECT_EQ(found.back(), kKeptInt);
    found.resize(found.size() - 3);
    EXPECT_EQ(ToHost(args.experts, pairs), ids);
    return found;
  }

  static void ExpectSorted(const std::vector<int32_t>& ids, int experts,
                           int tile_rows, const std::vector<int32_t>& found) {
    std::vector<int> order;  // of pairs that an expert meets
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < experts) order.push_back(static_cast<int>(i));
    }
    const auto rows = static_cast<int>(order.size());
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return ids[a] < ids[b]; });
    std::vector<int32_t> position(ids.size(), -1);
    for (int i = 0; i < rows; ++i) position[order[i]] = i;
    EXPECT_TRUE(std::equal(position.begin(), position.end(), found.begin()));

    // Tiles follow each other through all rows; each is of its rows' expert,
    // and only its last is not full.
    int row = 0;
    for (size_t i = ids.size(); i < found.size(); i += 3) {
      const ExpertTile tile = {found[i], found[i + 1], found[i + 2]};
      if (row == rows) {
        ASSERT_EQ(tile.rows, 0);
        continue;
      }
      ASSERT_GT(tile.rows, 0);
      ASSERT_EQ(tile.row0, row);
      ASSERT_LE(tile.rows, tile_rows);
      for (int r = 0; r < tile.rows; ++r) {
        ASSERT_EQ(ids[order[row++]], tile.expert);
      }
      const bool is_last = row == rows || ids[order[row]] != tile.expert;
      ASSERT_TRUE(is_last || tile.rows == tile_rows);
    }
    EXPECT_EQ(row, rows);
  }

  // `most`: ids below; those that are no experts are identities.
  static std::vector<int32_t> Ids(int pairs, int most) {
    std::mt19937_64 random(static_cast<uint64_t>(pairs) * 2000 + most);
    std::vector<int32_t> ids(pairs);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % most);
    return ids;
  }
  static void CheckSort(const std::vector<int32_t>& ids, int experts,
                        int tile_rows, bool in_every_order = false) {
    const int tiles =
        MaxExpertTiles(static_cast<int>(ids.size()), experts, tile_rows);
    const auto sort = [&] { return Sort(ids, experts, tile_rows, tiles); };
    ExpectSorted(ids, experts, tile_rows,
                 in_every_order ? InEveryOrder(sort) : sort());
    Restart();
    if (HasFailure()) {
      FAIL() << ids.size() << " pairs, " << experts << " experts, tiles of "
             << tile_rows;
    }
  }
};

TEST_F(MoeSort, SortsByExpertInPairsOrder) {
  for (const int pairs : {1, 3, 31, 32, 33, 67, 1025}) {
    for (const int experts : {1, 2, 5, 32, 33}) {
      CheckSort(Ids(pairs, experts), experts, 16);
      CheckSort(Ids(pairs, experts + 2), experts, 3);
    }
  }
  CheckSort(Ids(33, 5), 5, 16, /*in_every_order=*/true);
  CheckSort(Ids(900, 260), 256, 1, /*in_every_order=*/true);
  CheckSort(Ids(900, 1030), 1024, 16);
  CheckSort(Ids(2500, 1000), 1000, 16);
}

TEST_F(MoeSort, SortsManyPairsAndTheUneven) {
  CheckSort(Ids(70001, 300), 256, 16);
  CheckSort(std::vector<int32_t>(20000, 7), 9, 16);  // all of one expert
  CheckSort(std::vector<int32_t>(50, 9), 9, 16);     // none of any
  std::vector<int32_t> ids = Ids(700, 64);
  for (size_t i = 0; i < ids.size(); i += 2) ids[i] = 63;
  CheckSort(ids, 64, 16);
  // Those that are nothing's are nobody's.
  ids[0] = ids[44] = -1;
  ids[699] = INT32_MIN;
  ids[32] = INT32_MAX;
  CheckSort(ids, 64, 16);
}

TEST_F(MoeSort, TilesBeyondTheNeededAreEmpty) {
  for (const int pairs : {0, 40}) {
    const std::vector<int32_t> found = Sort(Ids(pairs, 4), 4, 16, 300);
    ExpectSorted(Ids(pairs, 4), 4, 16, found);
  }
}

TEST_F(MoeSort, SortRefusesWhatItHasNoMemoryFor) {
  SortArgs args;
  EXPECT_EQ(LaunchSort(args, nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
  args.pairs = 1;
  args.num_experts = 5000;
  EXPECT_EQ(LaunchSort(args, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace mla::kernels::cuda

#include "kernels/plan/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>

namespace mla::kernels {
namespace {

using cuda::AttentionSpan;
using cuda::AttentionWork;

std::vector<AttentionSpan> Spans(const std::vector<std::pair<int, int>>& rows) {
  std::vector<AttentionSpan> spans;
  int row = 0;
  for (const auto& [num_rows, first_position] : rows) {
    spans.push_back({row, num_rows, first_position, 0});
    row += num_rows;
  }
  return spans;
}

// Every (packed row, index that it sees) is in one piece, pieces' slots are
// those of their combine entry, and nothing is empty or in vain.
void CheckCovers(const AttnLayout& layout,
                 const std::vector<AttentionSpan>& spans,
                 const AttentionPlanOptions& options,
                 const AttentionPlan& plan) {
  ASSERT_EQ(plan.work_begin.size(), options.thread_blocks + 1u);
  EXPECT_EQ(plan.work_begin.front(), 0);
  EXPECT_EQ(plan.work_begin.back(), static_cast<int>(plan.work.size()));
  EXPECT_TRUE(std::is_sorted(plan.work_begin.begin(), plan.work_begin.end()));

  using Tile = std::tuple<int, int, int>;  // span, group, row0
  std::map<Tile, std::vector<AttentionWork>> tiles;
  for (const AttentionWork& w : plan.work) {
    tiles[{w.span, w.group, w.row0}].push_back(w);
  }
  std::map<Tile, cuda::CombineWork> combine;
  std::set<int> slots;
  for (const cuda::CombineWork& c : plan.combine) {
    EXPECT_TRUE(combine.insert({{c.span, c.group, c.row0}, c}).second);
    EXPECT_GT(c.num_slots, 1);
    for (int i = 0; i < c.num_slots; ++i) {
      EXPECT_TRUE(slots.insert(c.first_slot + i).second);
    }
  }
  EXPECT_EQ(static_cast<int>(slots.size()), plan.slots);

  for (int s = 0; s < static_cast<int>(spans.size()); ++s) {
    for (int g = 0; g < layout.groups; ++g) {
      const int heads = layout.GroupHeads(g);
      const int rows = spans[s].num_rows * heads;
      int row0 = 0;
      while (row0 < rows) {
        auto it = tiles.find({s, g, row0});
        ASSERT_NE(it, tiles.end()) << s << " " << g << " " << row0;
        std::vector<AttentionWork> pieces = it->second;
        tiles.erase(it);
        int end = row0;  // the tile's rows: up to the next one's first
        while (end < rows && end - row0 < options.tile_rows &&
               !(options.token_tiles && end > row0 && end % heads == 0)) {
          ++end;
        }
        int sees = 0;
        for (int r = row0; r < end; ++r) {
          const int rows_seen =
              (spans[s].first_position + r / heads) / options.time_stride + 1;
          sees = std::max(sees, options.top_k > 0
                                    ? std::min(rows_seen, options.top_k)
                                    : rows_seen);
        }
        if (options.end_index >= 0) sees = std::min(sees, options.end_index);
        std::sort(
            pieces.begin(), pieces.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
        int covered = options.first_index;
        for (const AttentionWork& p : pieces) {
          EXPECT_EQ(p.begin, covered);
          EXPECT_EQ(p.num_rows, end - row0);
          if (pieces.size() > 1) {
            EXPECT_GT(p.end, p.begin);
          }
          covered = p.end;
        }
        EXPECT_EQ(covered, std::max(sees, options.first_index));
        if (pieces.size() == 1) {
          EXPECT_EQ(pieces[0].slot, -1);
          EXPECT_EQ(combine.count({s, g, row0}), 0u);
        } else {
          ASSERT_EQ(combine.count({s, g, row0}), 1u);
          const cuda::CombineWork& c = combine[{s, g, row0}];
          EXPECT_EQ(c.num_rows, end - row0);
          ASSERT_EQ(c.num_slots, static_cast<int>(pieces.size()));
          for (size_t i = 0; i < pieces.size(); ++i) {
            EXPECT_EQ(pieces[i].slot, c.first_slot + static_cast<int>(i));
          }
        }
        row0 = end;
      }
    }
  }
  EXPECT_TRUE(tiles.empty());
}

TEST(AttentionPlan, CoversEveryRowAndIndexOnce) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const auto below = [&](int n) { return static_cast<int>(random() % n); };
    AttnLayout layout = MlaLayout(1 + below(130), 64, 16);
    if (below(2) == 0) {
      layout = GqaLayout(6, 3, 16);
      if (below(2) == 0) layout.first_head = {0, 1, 1, 6};
    }
    std::vector<std::pair<int, int>> rows;
    for (int i = below(6); i >= 0; --i) {
      rows.push_back(
          {1 + (below(2) ? below(90) : 0), below(2) ? below(70) : below(9000)});
    }
    AttentionPlanOptions options;
    options.tile_rows = below(2) ? 16 : 64;
    options.thread_blocks = 1 + below(140);
    options.cut_long = below(3) > 0;
    options.time_stride = 1 + below(2) * below(4);
    options.top_k = below(3) == 0 ? 1 + below(600) : 0;
    options.token_tiles = options.time_stride > 1 || options.top_k > 0;
    if (below(4) == 0) {
      options.first_index = 64 * below(3);
      options.end_index = options.first_index + 64 * (1 + below(3));
    }
    const std::vector<AttentionSpan> spans = Spans(rows);
    CheckCovers(layout, spans, options, PlanAttention(layout, spans, options));
    if (HasFailure()) FAIL() << "round " << round;
  }
}

// What a request's sums are must not depend on who else is there.
TEST(AttentionPlan, CutsASequenceByItsOwnLength) {
  const AttnLayout layout = MlaLayout(16, 64, 16);
  const auto cuts = [&](const std::vector<std::pair<int, int>>& rows,
                        int blocks) {
    AttentionPlanOptions options;
    options.thread_blocks = blocks;
    std::set<std::pair<int, int>> found;
    for (const AttentionWork& w :
         PlanAttention(layout, Spans(rows), options).work) {
      if (w.span == 0) found.insert({w.begin, w.end});
    }
    return found;
  };
  for (int position : {0, 255, 256, 3000, 40000}) {
    const auto alone = cuts({{1, position}}, 1);
    EXPECT_EQ(alone, cuts({{1, position}, {1, 77}, {1, 9000}}, 132));
    EXPECT_EQ(alone, cuts({{1, position}}, 264));
    for (const auto& [begin, end] : alone) EXPECT_EQ(begin % 64, 0);
  }
}

// No block gets more than a fair share and one piece: what any greedy deal
// keeps (Graham 1966), on the uneven batch that ThunderMLA was made for.
TEST(AttentionPlan, DealsEvenly) {
  AttentionPlanOptions options;
  options.tile_rows = 64;
  options.thread_blocks = 132;
  const AttnLayout layout = MlaLayout(16, 512, 64);
  const AttentionPlan plan = PlanAttention(
      layout, Spans({{4, 4641}, {4, 45118}, {4, 1730}, {4, 1696}}), options);
  int64_t total = 0, largest = 0, most = 0;
  for (int b = 0; b < options.thread_blocks; ++b) {
    int64_t load = 0;
    for (int w = plan.work_begin[b]; w < plan.work_begin[b + 1]; ++w) {
      const int64_t rows = plan.work[w].end - plan.work[w].begin;
      load += rows;
      largest = std::max(largest, rows);
    }
    total += load;
    most = std::max(most, load);
  }
  EXPECT_EQ(total, 4641 + 45118 + 1730 + 1696 + 4 * 4);
  EXPECT_LE(most, total / options.thread_blocks + largest);
}

TEST(AttentionPlan, ABlockWithNothingToDoHasAnEmptyRange) {
  AttentionPlanOptions options;
  options.thread_blocks = 5;
  const AttentionPlan plan =
      PlanAttention(MlaLayout(4, 8, 2), Spans({{1, 3}}), options);
  ASSERT_EQ(plan.work.size(), 1u);
  EXPECT_EQ(plan.work_begin, (std::vector<int32_t>{0, 1, 1, 1, 1, 1}));
  EXPECT_TRUE(PlanAttention(MlaLayout(4, 8, 2), {}, options).work.empty());
}

}  // namespace
}  // namespace mla::kernels

// Tested by tests/kernels/attention_plan_test.cc.
#include "kernels/plan/attention_plan.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace mla::kernels {
namespace {

using cuda::AttentionSpan;
using cuda::AttentionWork;
using cuda::CombineWork;

constexpr int kPage = 64;
constexpr int kMinPiece = 256;
constexpr int kMaxPiece = 2048;
constexpr int kMaxPieces = 64;  // until pieces have kMaxPiece rows
// What a piece costs besides its rows, in rows: queries, results, the start of
// the pipeline.
constexpr int64_t kPieceOverhead = 64;

class Planner {
 public:
  Planner(const AttnLayout& layout, const AttentionPlanOptions& options)
      : layout_(layout), options_(options) {}

  void Add(const AttentionSpan& span, int index) {
    for (int group = 0; group < layout_.groups; ++group) {
      const int heads = layout_.GroupHeads(group);
      const int rows = span.num_rows * heads;
      int row0 = 0;
      while (row0 < rows) {
        int end = std::min(row0 + options_.tile_rows, rows);
        if (options_.token_tiles) {
          end = std::min(end, (row0 / heads + 1) * heads);
        }
        AddTile({index, group, row0, end - row0, 0, 0},
                Visible(span.first_position + (end - 1) / heads));
        row0 = end;
      }
    }
  }

  AttentionPlan Deal() {
    std::stable_sort(pieces_.begin(), pieces_.end(),
                     [](const AttentionWork& a, const AttentionWork& b) {
                       return Cost(a) > Cost(b);
                     });
    using Load = std::pair<int64_t, int>;  // cost so far, block
    std::priority_queue<Load, std::vector<Load>, std::greater<Load>> least;
    for (int b = 0; b < options_.thread_blocks; ++b) least.push({0, b});
    std::vector<std::vector<AttentionWork>> dealt(options_.thread_blocks);
    for (const AttentionWork& piece : pieces_) {
      const auto [load, block] = least.top();
      least.pop();
      dealt[block].push_back(piece);
      least.push({load + Cost(piece), block});
    }
    plan_.work_begin.push_back(0);
    for (const std::vector<AttentionWork>& pieces : dealt) {
      plan_.work.insert(plan_.work.end(), pieces.begin(), pieces.end());
      plan_.work_begin.push_back(static_cast<int32_t>(plan_.work.size()));
    }
    return std::move(plan_);
  }

 private:
  static int64_t Cost(const AttentionWork& w) {
    return w.end - w.begin + kPieceOverhead;
  }

  int Visible(int position) const {
    const int rows = position / options_.time_stride + 1;
    return options_.top_k > 0 ? std::min(rows, options_.top_k) : rows;
  }

  void AddTile(CombineWork tile, int visible) {
    ++plan_.tiles;
    AttentionWork piece{
        tile.span, tile.group, tile.row0, tile.num_rows, options_.first_index,
        visible,   -1};
    if (options_.end_index >= 0) {
      piece.end = std::min(visible, options_.end_index);
    }
    piece.end = std::max(piece.end, piece.begin);
    const int size = PieceRows(piece.end - piece.begin);
    if (!options_.cut_long || piece.end - piece.begin <= size) {
      pieces_.push_back(piece);
      return;
    }
    tile.first_slot = plan_.slots;
    for (const int end = piece.end; piece.begin < end; piece.begin += size) {
      piece.end = std::min(piece.begin + size, end);
      piece.slot = plan_.slots++;
      pieces_.push_back(piece);
    }
    tile.num_slots = plan_.slots - tile.first_slot;
    plan_.combine.push_back(tile);
  }

  const AttnLayout& layout_;
  const AttentionPlanOptions& options_;
  std::vector<AttentionWork> pieces_;
  AttentionPlan plan_;
};

}  // namespace

int PieceRows(int length) {
  const int even = (length + kMaxPieces - 1) / kMaxPieces;
  const int pages = (even + kPage - 1) / kPage;
  return std::clamp(pages * kPage, kMinPiece, kMaxPiece);
}

AttentionPlan PlanAttention(const AttnLayout& layout,
                            const std::vector<AttentionSpan>& spans,
                            const AttentionPlanOptions& options) {
  Planner planner(layout, options);
  for (size_t i = 0; i < spans.size(); ++i) {
    planner.Add(spans[i], static_cast<int>(i));
  }
  return planner.Deal();
}

}  // namespace mla::kernels

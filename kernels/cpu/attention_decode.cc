// Decode attention, absorbed and split over the cached tokens.
//
// Each (query row, split) is a task that reads its tokens once, a tile at a
// time for all latent groups, and whose partial softmax is merged with the
// other splits' in ascending order (flash-decoding). Splits start at positions
// that the row's own position decides, so the sums are the same alone or in a
// batch, on one thread or on many.
// Tested by tests/kernels/attention_test.cc.
#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/linear.h"

namespace mla::kernels {
namespace {

// A split is at least this long, so that merging it costs little beside
// reading it, and a row has at most kMaxSplits, which bounds the partials.
constexpr int kMinSplitTokens = 256;
constexpr int kMaxSplits = 16;
// Splits are dealt out in about this many pieces per thread.
constexpr int kPieces = 8;
// Rows are processed in waves whose intermediates stay below this.
constexpr size_t kWaveBytes = size_t{32} << 20;

int SplitTokens(int tokens) {
  const int even = (tokens + kMaxSplits - 1) / kMaxSplits;
  const int tiles = (even + kTileTokens - 1) / kTileTokens;
  return std::max(kMinSplitTokens, tiles * kTileTokens);
}

struct QueryRow {
  int row;     // of q and out
  int tokens;  // cached rows: it sees [0, tokens)
  const int32_t* block_table;
  int splits;
  size_t first_partial;  // of its splits * virtual heads
};

struct Task {
  int query;  // index into the wave
  int split;
};

// What one call works with.
struct Decode {
  CpuContext& cpu;
  const AttentionOp& op;
  const CacheRows& cache;
  Rows q;
  Rows out;

  const AttnLayout& layout() const { return op.layout; }
  // Of a query and a key in a tile.
  int key_length() const {
    return op.absorbs_keys() ? layout().key_length() : op.query_dim();
  }
  // Rows are read as they lie in the cache.
  bool by_rows() const { return UsesBF16(cpu.inner(), layout(), cache.format); }
  // Of a head's output in a partial.
  int width() const {
    const AttnLayout& l = layout();
    return by_rows()
               ? PaddedLength({SliceOf(l.value[0], 0), SliceOf(l.value[1], 0)})
               : WholePanels(l.value_length());
  }
};

// Queries in the space of the rows: [q_nope W_UK | q_rope], per virtual head.
// [rows, virtual heads * key_length]
Rows AbsorbQueries(const Decode& d, int first_row, int rows) {
  const AttnLayout& layout = d.layout();
  const int key_length = d.key_length();
  const int query_dim = d.op.query_dim();
  const size_t width = size_t(layout.virtual_heads()) * key_length;
  Rows absorbed{d.cpu.OpScratch().Take<float>(rows * width), rows,
                static_cast<int>(width), width};
  d.cpu.pool().Run(layout.virtual_heads(), [&](int head, int thread) {
    const Rows dst = absorbed.Columns(head * key_length, key_length);
    const Rows src = d.q.Slice(first_row, rows)
                         .Columns(head % layout.heads * query_dim, query_dim);
    Scratch& scratch = d.cpu.ThreadScratch(thread);
    scratch.Reset();
    const PackedMatrix& w = d.op.up->k_absorbed[head];
    LinearSerial(d.cpu.inner(), scratch, src.Columns(0, w.k()), w,
                 dst.Columns(0, w.n()));
    for (int row = 0; row < rows; ++row) {
      std::copy_n(src[row] + w.k(), query_dim - w.k(), dst[row] + w.n());
    }
  });
  return absorbed;
}

// One query's virtual heads times scale * log2(e): floats, or bf16 with both
// slices padded where rows are read as they lie.
Queries ScaleQuery(const Decode& d, const float* q, Scratch& scratch) {
  const AttnLayout& layout = d.layout();
  const int heads = layout.virtual_heads();
  const int length = d.key_length();
  const float scale = d.op.scale * kLog2E;
  auto* floats = scratch.Take<float>(size_t(heads) * length);
  for (int head = 0; head < heads; ++head) {
    const float* src = q + size_t(head) * length;
    float* dst = floats + size_t(head) * length;
    for (int j = 0; j < length; ++j) dst[j] = src[j] * scale;
  }
  if (!d.by_rows()) return {.floats = floats, .stride = length};
  const int padded =
      PaddedLength({SliceOf(layout.key[0], 0), SliceOf(layout.key[1], 0)});
  auto* halves = scratch.Take<bf16_t>(size_t(heads) * padded);
  std::fill_n(halves, size_t(heads) * padded, bf16_t{0});
  for (int head = 0; head < heads; ++head) {
    const float* src = floats + size_t(head) * length;
    bf16_t* dst = halves + size_t(head) * padded;
    for (const Slice& slice : layout.key) {
      d.cpu.inner().from_float(DType::kBF16, src, slice.length, dst);
      src += slice.length;
      dst += PaddedLength({SliceOf(slice, 0), {}});
    }
  }
  return {.halves = halves, .stride = padded};
}

// Folds a tile into the heads of one latent group, from rows as they lie in the
// cache; `next` is read after it.
void FoldRows(const Decode& d, int group, const Queries& q,
              const TileRows& rows, const TileRows& next,
              const RunningSoftmax& state) {
  const AttnLayout& l = d.layout();
  const int first = l.FirstHead(group);
  d.cpu.inner().attend_rows(
      {.heads = l.GroupHeads(group),
       .q = q.halves + size_t(first) * q.stride,
       .q_stride = size_t(q.stride),
       .rows = rows.row,
       .tokens = rows.count,
       .next = next.row,
       .next_tokens = next.count,
       .key = {SliceOf(l.key[0], group), SliceOf(l.key[1], group)},
       .value = {SliceOf(l.value[0], group), SliceOf(l.value[1], group)},
       .state = state.From(first)});
}

// The same from a tile of floats.
void FoldTile(const Decode& d, int group, Queries q, TileRows rows,
              Scratch& scratch, Tile& tile, RunningSoftmax& state) {
  const InnerKernels& inner = d.cpu.inner();
  const AttnLayout& l = d.layout();
  Widen(inner, scratch, d.cache.format, ElementRange(l, group), rows);
  if (l.rotate_on_read) {
    LoadRotated(inner, scratch, d.op, group, rows, tile);
  } else {
    LoadSlices(inner, l, group, rows, scratch, tile);
  }
  const int heads = l.GroupHeads(group);
  auto* visible = scratch.Take<int>(heads);
  std::fill_n(visible, heads, rows.count);
  q.floats += size_t(l.FirstHead(group)) * q.stride;
  state.Fold(inner, l.FirstHead(group), heads, q, tile, rows.count, visible);
}

// The tokens of a split.
struct Span {
  const int32_t* block_table;
  int first;
  int end;

  Span(const QueryRow& query, int split) : block_table(query.block_table) {
    const int tokens = SplitTokens(query.tokens);
    first = split * tokens;
    end = std::min(first + tokens, query.tokens);
  }
};

// Folds one split's tiles into `state`; `after` is the tile that is read next.
void RunSplit(const Decode& d, const QueryRow& query, const Span& span,
              const float* q, const TileRows& after, Scratch& scratch,
              RunningSoftmax state) {
  const AttnLayout& layout = d.layout();
  const Queries queries = ScaleQuery(d, q, scratch);
  std::optional<Tile> tile;
  if (!d.by_rows()) {
    tile.emplace(scratch, false, d.key_length(), layout.value_length());
  }
  for (int start = span.first; start < span.end; start += kTileTokens) {
    TileRows rows(d.cache, span.block_table, start, span.end);
    if (layout.time_stride > 1 && start + rows.count == query.tokens) {
      rows.row[rows.count - 1] =
          d.op.newest_rows + query.row * d.cache.row_bytes();
    }
    TileRows next(d.cache, span.block_table, start + kTileTokens, span.end);
    if (next.count == 0) next = after;
    for (int group = 0; group < layout.groups; ++group) {
      if (!tile) {
        FoldRows(d, group, queries, rows, next, state);
        continue;
      }
      const Scratch::Mark mark = scratch.GetMark();
      FoldTile(d, group, queries, rows, scratch, *tile, state);
      scratch.Rewind(mark);
    }
  }
}

// dst = sum_s 2^(max_s - max) out_s / sum_s 2^(max_s - max) sum_s, where splits
// are `heads` partials apart.
void MergeSplits(const Decode& d, int splits, size_t heads, const float* max,
                 const float* sum, const float* out, float* dst) {
  float top = max[0];
  for (int s = 1; s < splits; ++s) top = std::max(top, max[s * heads]);
  float total = 0.0f;
  for (int s = 0; s < splits; ++s) {
    total += std::exp2(max[s * heads] - top) * sum[s * heads];
  }
  const int width = d.width();
  std::fill_n(dst, d.layout().value_length(), 0.0f);
  for (int s = 0; s < splits; ++s) {
    const float weight = std::exp2(max[s * heads] - top) / total;
    const float* src = out + s * heads * width;
    if (!d.by_rows()) {
      d.cpu.inner().add_scaled(src, weight, d.layout().value_length(), dst);
      continue;
    }
    float* to = dst;
    for (const Slice& slice : d.layout().value) {
      d.cpu.inner().add_scaled(src, weight, slice.length, to);
      to += slice.length;
      src += PaddedLength({SliceOf(slice, 0), {}});
    }
  }
}

std::vector<QueryRow> QueryRows(const AttnLayout& layout,
                                const SequenceSpan* spans, int num_spans) {
  std::vector<QueryRow> rows;
  for (int s = 0; s < num_spans; ++s) {
    for (int i = 0; i < spans[s].num_rows; ++i) {
      const int tokens = (spans[s].first_position + i) / layout.time_stride + 1;
      const int split_tokens = SplitTokens(tokens);
      rows.push_back({spans[s].first_row + i, tokens, spans[s].block_table,
                      (tokens + split_tokens - 1) / split_tokens, 0});
    }
  }
  return rows;
}

// out = sum over branches of W_UV merged, per head.
void ProjectValues(const Decode& d, Rows merged, Rows out) {
  const AttnLayout& layout = d.layout();
  const int width = layout.value_length();
  const int dim = d.op.output_dim();
  d.cpu.pool().Run(layout.heads, [&](int head, int thread) {
    Scratch& scratch = d.cpu.ThreadScratch(thread);
    scratch.Reset();
    const Rows dst = out.Columns(head * dim, dim);
    const Rows part{scratch.Take<float>(size_t(out.rows) * dim), out.rows, dim,
                    size_t(dim)};
    for (int branch = 0; branch < layout.branches; ++branch) {
      const int v = branch * layout.heads + head;
      LinearSerial(d.cpu.inner(), scratch, merged.Columns(v * width, width),
                   d.op.up->v[v], branch == 0 ? dst : part);
      for (int row = 0; branch > 0 && row < out.rows; ++row) {
        d.cpu.inner().add_scaled(part[row], 1.0f, dim, dst[row]);
      }
    }
  });
}

// Queries [first, end) of consecutive rows, start to finish.
void RunWave(const Decode& d, QueryRow* queries, int count) {
  const AttnLayout& layout = d.layout();
  const size_t heads = layout.virtual_heads();
  const int width = d.width();
  Scratch& scratch = d.cpu.OpScratch();
  scratch.Reset();
  const int first_row = queries[0].row;
  const Rows q = d.op.absorbs_keys() ? AbsorbQueries(d, first_row, count)
                                     : d.q.Slice(first_row, count);

  size_t partials = 0;
  int num_tasks = 0;
  for (int i = 0; i < count; ++i) {
    queries[i].first_partial = partials;
    partials += heads * queries[i].splits;
    num_tasks += queries[i].splits;
  }
  auto* tasks = scratch.Take<Task>(num_tasks);
  for (int i = 0, t = 0; i < count; ++i) {
    for (int split = 0; split < queries[i].splits; ++split) {
      tasks[t++] = {i, split};
    }
  }
  float* max = scratch.Take<float>(partials);
  float* sum = scratch.Take<float>(partials);
  float* partial = scratch.Take<float>(partials * width);
  // Neighbours are one thread's, which asks for the next one's rows in time.
  const int pieces = std::min(num_tasks, d.cpu.pool().size() * kPieces);
  d.cpu.pool().Run(pieces, [&](int piece, int thread) {
    const auto cut = [&](int at) {
      return static_cast<int>(int64_t{num_tasks} * at / pieces);
    };
    const auto span = [&](int t) {
      return Span(queries[tasks[t].query], tasks[t].split);
    };
    for (int t = cut(piece); t < cut(piece + 1); ++t) {
      TileRows after(d.cache.format.dtype, 0);
      if (t + 1 < cut(piece + 1)) {
        const Span next = span(t + 1);
        after = {d.cache, next.block_table, next.first, next.end};
      }
      Scratch& local = d.cpu.ThreadScratch(thread);
      local.Reset();
      const QueryRow& query = queries[tasks[t].query];
      const size_t at = query.first_partial + tasks[t].split * heads;
      RunSplit(d, query, span(t), q[tasks[t].query], after, local,
               RunningSoftmax(max + at, sum + at, partial + at * width,
                              static_cast<int>(heads), width));
    }
  });

  const Rows out = d.out.Slice(first_row, count);
  const int value_length = layout.value_length();
  Rows merged = out;
  if (d.op.projects_values()) {
    const size_t merged_width = heads * value_length;
    merged = {scratch.Take<float>(count * merged_width), count,
              static_cast<int>(merged_width), merged_width};
  }
  d.cpu.ForEach(static_cast<int>(count * heads),
                static_cast<int64_t>(partials) * width, [&](int index, int) {
                  const size_t i = index / heads;
                  const size_t h = index % heads;
                  const size_t first = queries[i].first_partial + h;
                  MergeSplits(d, queries[i].splits, heads, max + first,
                              sum + first, partial + first * width,
                              merged[i] + h * value_length);
                });
  if (d.op.projects_values()) ProjectValues(d, merged, out);
}

}  // namespace

void AttendDecode(CpuContext& cpu, const AttentionOp& op,
                  const CacheRows& cache, const SequenceSpan* spans,
                  int num_spans, Rows q, Rows out) {
  std::vector<QueryRow> queries = QueryRows(op.layout, spans, num_spans);
  const Decode decode{cpu, op, cache, q, out};
  const size_t row_bytes =
      sizeof(float) * op.layout.virtual_heads() *
      (decode.key_length() + (kMaxSplits + 1) * (decode.width() + 2));
  const size_t wave = std::max<size_t>(1, kWaveBytes / row_bytes);
  for (size_t first = 0; first < queries.size(); first += wave) {
    RunWave(decode, queries.data() + first,
            static_cast<int>(std::min(wave, queries.size() - first)));
  }
}

}  // namespace mla::kernels

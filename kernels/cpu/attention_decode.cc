// Decode attention, absorbed and split over the cached tokens.
//
// Each (query row, latent group, split) is a task whose partial softmax is
// merged with the other splits' in ascending order (flash-decoding). Splits
// start at positions that the row's own position decides, so the sums are the
// same alone or in a batch, on one thread or on many.
// Tested by tests/kernels/attention_test.cc.
#include <algorithm>
#include <cmath>
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
  size_t first_partial;  // of its virtual heads * splits

  // Of a group's heads in a split, one after the other.
  size_t Partial(const AttnLayout& layout, int group, int split) const {
    return first_partial + size_t(layout.FirstHead(group)) * splits +
           size_t(split) * layout.GroupHeads(group);
  }
};

struct Task {
  int query;  // index into the wave
  int group;
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
};

// Queries in the space of a tile's keys, times scale * log2(e):
// [q_nope W_UK | q_rope], or q itself. [rows, virtual heads * key_length]
Rows AbsorbQueries(const Decode& d, int first_row, int rows) {
  const AttnLayout& layout = d.layout();
  const int key_length = d.key_length();
  const int query_dim = d.op.query_dim();
  const size_t width = size_t(layout.virtual_heads()) * key_length;
  Rows absorbed{d.cpu.OpScratch().Take<float>(rows * width), rows,
                static_cast<int>(width), width};
  const float scale = d.op.scale * kLog2E;
  d.cpu.pool().Run(layout.virtual_heads(), [&](int head, int thread) {
    const Rows dst = absorbed.Columns(head * key_length, key_length);
    const Rows src = d.q.Slice(first_row, rows)
                         .Columns(head % layout.heads * query_dim, query_dim);
    int done = 0, nope = 0;
    if (d.op.absorbs_keys()) {
      Scratch& scratch = d.cpu.ThreadScratch(thread);
      scratch.Reset();
      const PackedMatrix& w = d.op.up->k_absorbed[head];
      done = w.n();
      nope = w.k();
      LinearSerial(d.cpu.inner(), scratch, src.Columns(0, nope), w,
                   dst.Columns(0, done));
    }
    for (int row = 0; row < rows; ++row) {
      std::copy_n(src[row] + nope, query_dim - nope, dst[row] + done);
      for (int j = 0; j < key_length; ++j) dst[row][j] *= scale;
    }
  });
  return absorbed;
}

// Folds one split's tiles; the partial goes to max, sum and out.
void RunSplit(const Decode& d, const QueryRow& query, const Task& task,
              const float* q, Scratch& scratch, float* max, float* sum,
              float* out) {
  const AttnLayout& layout = d.layout();
  const int split_tokens = SplitTokens(query.tokens);
  const int first = task.split * split_tokens;
  const int end = std::min(first + split_tokens, query.tokens);
  const int heads = layout.GroupHeads(task.group);
  RunningSoftmax state(scratch, heads, layout.value_length());
  Tile tile(scratch, d.key_length(), layout.value_length());
  const ElementRange range(layout, task.group);
  for (int start = first; start < end; start += kTileTokens) {
    const Scratch::Mark mark = scratch.GetMark();
    TileRows rows(d.cache, query.block_table, start, end);
    Widen(d.cpu.inner(), scratch, d.cache.format, range, rows);
    if (layout.time_stride > 1 && start + rows.count == query.tokens) {
      rows.row[rows.count - 1] =
          d.op.newest_rows + query.row * d.cache.row_bytes();
    }
    if (layout.rotate_on_read) {
      LoadRotated(d.cpu.inner(), scratch, d.op, task.group, rows, tile);
    } else {
      LoadSlices(d.cpu.inner(), layout, task.group, rows, tile);
    }
    scratch.Rewind(mark);
    std::fill_n(state.visible, heads, rows.count);
    state.Fold(d.cpu.inner(), q, d.key_length(), tile, rows.count);
  }
  std::copy_n(state.max, heads, max);
  std::copy_n(state.sum, heads, sum);
  const int width = layout.value_length();
  for (int head = 0; head < heads; ++head) {
    std::copy_n(state.out + size_t(head) * state.width, width,
                out + size_t(head) * width);
  }
}

// dst = sum_s 2^(max_s - max) out_s / sum_s 2^(max_s - max) sum_s
void MergeSplits(const InnerKernels& inner, int splits, const float* max,
                 const float* sum, const float* out, size_t split_stride,
                 int width, float* dst) {
  float top = max[0];
  for (int s = 1; s < splits; ++s) top = std::max(top, max[s * split_stride]);
  float total = 0.0f;
  for (int s = 0; s < splits; ++s) {
    total += std::exp2(max[s * split_stride] - top) * sum[s * split_stride];
  }
  std::fill_n(dst, width, 0.0f);
  for (int s = 0; s < splits; ++s) {
    const float weight = std::exp2(max[s * split_stride] - top) / total;
    inner.add_scaled(out + s * split_stride * width, weight, width, dst);
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
  const int width = layout.value_length();
  Scratch& scratch = d.cpu.OpScratch();
  scratch.Reset();
  const int first_row = queries[0].row;
  const Rows absorbed = AbsorbQueries(d, first_row, count);

  std::vector<Task> tasks;
  size_t partials = 0;
  for (int i = 0; i < count; ++i) {
    queries[i].first_partial = partials;
    partials += size_t(layout.virtual_heads()) * queries[i].splits;
    for (int group = 0; group < layout.groups; ++group) {
      for (int split = 0; split < queries[i].splits; ++split) {
        tasks.push_back({i, group, split});
      }
    }
  }
  float* max = scratch.Take<float>(partials);
  float* sum = scratch.Take<float>(partials);
  float* partial = scratch.Take<float>(partials * width);
  d.cpu.pool().Run(static_cast<int>(tasks.size()), [&](int t, int thread) {
    const Task& task = tasks[t];
    Scratch& local = d.cpu.ThreadScratch(thread);
    local.Reset();
    const QueryRow& query = queries[task.query];
    const size_t at = query.Partial(layout, task.group, task.split);
    RunSplit(d, query, task,
             absorbed[task.query] +
                 size_t(layout.FirstHead(task.group)) * d.key_length(),
             local, max + at, sum + at, partial + at * width);
  });

  const Rows out = d.out.Slice(first_row, count);
  Rows merged = out;
  if (d.op.projects_values()) {
    const size_t merged_width = size_t(layout.virtual_heads()) * width;
    merged = {scratch.Take<float>(count * merged_width), count,
              static_cast<int>(merged_width), merged_width};
  }
  d.cpu.pool().Run(count * layout.groups, [&](int index, int) {
    const int i = index / layout.groups;
    const int group = index % layout.groups;
    const int heads = layout.GroupHeads(group);
    const size_t first = queries[i].Partial(layout, group, 0);
    for (int h = 0; h < heads; ++h) {
      MergeSplits(d.cpu.inner(), queries[i].splits, max + first + h,
                  sum + first + h, partial + (first + h) * width, heads, width,
                  merged[i] + (size_t(layout.FirstHead(group)) + h) * width);
    }
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
      (decode.key_length() + (kMaxSplits + 1) * (op.layout.value_length() + 2));
  const size_t wave = std::max<size_t>(1, kWaveBytes / row_bytes);
  for (size_t first = 0; first < queries.size(); first += wave) {
    RunWave(decode, queries.data() + first,
            static_cast<int>(std::min(wave, queries.size() - first)));
  }
}

}  // namespace mla::kernels

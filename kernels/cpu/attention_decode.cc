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
  int tokens;  // it sees [0, tokens)
  const int32_t* block_table;
  int splits;
  int first_task;  // of its groups * splits
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
};

// Queries in the space of the rows, times scale * log2(e):
// [q_nope W_UK | q_rope], or q itself. [rows, heads * key_length]
Rows AbsorbQueries(const Decode& d, int first_row, int rows) {
  const AttnLayout& layout = d.layout();
  const int key_length = layout.key_length();
  const size_t width = size_t(layout.heads) * key_length;
  Rows absorbed{d.cpu.OpScratch().Take<float>(rows * width), rows,
                static_cast<int>(width), width};
  const Rows q = d.q.Slice(first_row, rows);
  const float scale = d.op.scale * kLog2E;
  d.cpu.pool().Run(layout.heads, [&](int head, int thread) {
    const Rows dst = absorbed.Columns(head * key_length, key_length);
    if (const UpProjection* up = d.op.up) {
      Scratch& scratch = d.cpu.ThreadScratch(thread);
      scratch.Reset();
      const int nope = up->qk_nope_head_dim;
      const int rope = up->qk_rope_head_dim;
      const Rows src = q.Columns(head * (nope + rope), nope + rope);
      LinearSerial(d.cpu.inner(), scratch, src.Columns(0, nope),
                   up->k_absorbed[head], dst.Columns(0, layout.key[0].length));
      for (int row = 0; row < rows; ++row) {
        std::copy_n(src[row] + nope, rope, dst[row] + layout.key[0].length);
      }
    } else {
      const Rows src = q.Columns(head * key_length, key_length);
      for (int row = 0; row < rows; ++row) {
        std::copy_n(src[row], key_length, dst[row]);
      }
    }
    for (int row = 0; row < rows; ++row) {
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
  const int heads = layout.heads_per_group();
  RunningSoftmax state(scratch, heads, layout.value_length());
  Tile tile(scratch, layout.key_length(), layout.value_length());
  for (int start = first; start < end; start += kTileTokens) {
    const TileRows rows(d.cache, query.block_table, start, end);
    LoadSlices(d.cpu.inner(), layout, task.group, d.cache.dtype, rows, tile);
    std::fill_n(state.visible, heads, rows.count);
    state.Fold(d.cpu.inner(), q, layout.key_length(), tile, rows.count);
  }
  std::copy_n(state.max, heads, max);
  std::copy_n(state.sum, heads, sum);
  std::copy_n(state.out, size_t(heads) * layout.value_length(), out);
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

std::vector<QueryRow> QueryRows(const SequenceSpan* spans, int num_spans) {
  std::vector<QueryRow> rows;
  for (int s = 0; s < num_spans; ++s) {
    for (int i = 0; i < spans[s].num_rows; ++i) {
      const int tokens = spans[s].first_position + i + 1;
      const int split_tokens = SplitTokens(tokens);
      rows.push_back({spans[s].first_row + i, tokens, spans[s].block_table,
                      (tokens + split_tokens - 1) / split_tokens, 0});
    }
  }
  return rows;
}

// Queries [first, end) of consecutive rows, start to finish.
void RunWave(const Decode& d, QueryRow* queries, int count) {
  const AttnLayout& layout = d.layout();
  const int heads = layout.heads_per_group();
  const int width = layout.value_length();
  Scratch& scratch = d.cpu.OpScratch();
  scratch.Reset();
  const int first_row = queries[0].row;
  const Rows absorbed = AbsorbQueries(d, first_row, count);

  std::vector<Task> tasks;
  for (int i = 0; i < count; ++i) {
    queries[i].first_task = static_cast<int>(tasks.size());
    for (int group = 0; group < layout.groups; ++group) {
      for (int split = 0; split < queries[i].splits; ++split) {
        tasks.push_back({i, group, split});
      }
    }
  }
  // Partials, one line of `heads` per task.
  float* max = scratch.Take<float>(tasks.size() * heads);
  float* sum = scratch.Take<float>(tasks.size() * heads);
  float* partial = scratch.Take<float>(tasks.size() * heads * width);
  d.cpu.pool().Run(static_cast<int>(tasks.size()), [&](int t, int thread) {
    const Task& task = tasks[t];
    Scratch& local = d.cpu.ThreadScratch(thread);
    local.Reset();
    const size_t line = size_t(t) * heads;
    RunSplit(
        d, queries[task.query], task,
        absorbed[task.query] + size_t(task.group) * heads * layout.key_length(),
        local, max + line, sum + line, partial + line * width);
  });

  const size_t merged_width = size_t(layout.heads) * width;
  Rows merged = d.out.Slice(first_row, count);
  if (d.op.up != nullptr) {
    merged = {scratch.Take<float>(count * merged_width), count,
              static_cast<int>(merged_width), merged_width};
  }
  d.cpu.pool().Run(count * layout.groups, [&](int index, int) {
    const int i = index / layout.groups;
    const int group = index % layout.groups;
    const size_t first =
        size_t(queries[i].first_task + group * queries[i].splits) * heads;
    for (int h = 0; h < heads; ++h) {
      MergeSplits(d.cpu.inner(), queries[i].splits, max + first + h,
                  sum + first + h, partial + (first + h) * width, heads, width,
                  merged[i] + (size_t(group) * heads + h) * width);
    }
  });

  if (const UpProjection* up = d.op.up) {
    const Rows out = d.out.Slice(first_row, count);
    d.cpu.pool().Run(layout.heads, [&](int head, int thread) {
      Scratch& local = d.cpu.ThreadScratch(thread);
      local.Reset();
      LinearSerial(d.cpu.inner(), local, merged.Columns(head * width, width),
                   up->v[head],
                   out.Columns(head * up->v_head_dim, up->v_head_dim));
    });
  }
}

}  // namespace

void AttendDecode(CpuContext& cpu, const AttentionOp& op,
                  const CacheRows& cache, const SequenceSpan* spans,
                  int num_spans, Rows q, Rows out) {
  std::vector<QueryRow> queries = QueryRows(spans, num_spans);
  const AttnLayout& layout = op.layout;
  const size_t row_bytes =
      sizeof(float) * layout.heads *
      (layout.key_length() + (kMaxSplits + 1) * (layout.value_length() + 2));
  const size_t wave = std::max<size_t>(1, kWaveBytes / row_bytes);
  const Decode decode{cpu, op, cache, q, out};
  for (size_t first = 0; first < queries.size(); first += wave) {
    RunWave(decode, queries.data() + first,
            static_cast<int>(std::min(wave, queries.size() - first)));
  }
}

}  // namespace mla::kernels

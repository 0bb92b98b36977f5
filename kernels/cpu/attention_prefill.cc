// Prompt attention. A task is a block of queries of one sequence over one
// latent group or head; it walks the tiles from the sequence's start to its
// last query, so each query sums its tokens in the same order however the
// prompt was cut.
// Tested by tests/kernels/attention_test.cc.
#include <algorithm>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/linear.h"

namespace mla::kernels {
namespace {

// Queries per task where loading a tile is cheap (slices of the row)...
constexpr int kSliceQueries = 64;
// ...and, of all heads that share it, where it means building 64 keys.
constexpr int kMaterialisedQueries = 1024;

struct Task {
  const SequenceSpan* span;
  int first;  // queries of the span
  int count;
  int part;  // latent group, or head when materialised
};

std::vector<Task> Cut(const SequenceSpan* spans, int num_spans, int parts,
                      int block) {
  std::vector<Task> tasks;
  for (int s = 0; s < num_spans; ++s) {
    // The last block reads the most: it goes first, and small ones fill up.
    const int blocks = (spans[s].num_rows + block - 1) / block;
    for (int b = blocks - 1; b >= 0; --b) {
      const int first = b * block;
      const int count = std::min(block, spans[s].num_rows - first);
      for (int part = 0; part < parts; ++part) {
        tasks.push_back({&spans[s], first, count, part});
      }
    }
  }
  return tasks;
}

// What one call works with.
struct Prefill {
  CpuContext& cpu;
  const AttentionOp& op;
  const CacheRows& cache;
  Rows q;
  Rows out;
};

// A tile's rows rounded to bf16.
TileRows Halves(const InnerKernels& inner, Scratch& scratch, Rows x) {
  TileRows rows(DType::kBF16, x.rows);
  for (int t = 0; t < x.rows; ++t) {
    auto* half = scratch.Take<bf16_t>(x.cols);
    inner.from_float(DType::kBF16, x[t], x.cols, half);
    rows.row[t] = half;
  }
  return rows;
}

// Up-projects one tile of rows to a virtual head's keys and values.
void Materialise(const Prefill& p, Scratch& scratch, int head,
                 const TileRows& rows, Tile& tile) {
  const InnerKernels& inner = p.cpu.inner();
  const AttnLayout& layout = p.op.layout;
  const Scratch::Mark mark = scratch.GetMark();
  const int group = layout.GroupOf(head);
  const auto gather = [&](const Slice(&slices)[2], int length) {
    const Rows view{scratch.Take<float>(size_t(rows.count) * length),
                    rows.count, length, size_t(length)};
    GatherSlices(inner, slices, group, rows, view.data, length);
    return view;
  };
  const Rows view = gather(layout.key, layout.key_length());
  const PackedMatrix& w_uk = p.op.up->k[head];
  const int dim = p.op.query_dim();
  const Rows keys{scratch.Take<float>(size_t(rows.count) * dim), rows.count,
                  dim, size_t(dim)};
  LinearSerial(inner, scratch, view.Columns(0, w_uk.k()), w_uk,
               keys.Columns(0, w_uk.n()));
  for (int t = 0; t < rows.count; ++t) {
    std::copy(view[t] + w_uk.k(), view[t] + view.cols, keys[t] + w_uk.n());
  }
  Rows values{tile.v, rows.count, p.op.output_dim(), size_t(tile.v_stride)};
  if (tile.bf16()) {
    values.data = scratch.Take<float>(size_t(rows.count) * values.stride);
  }
  if (p.op.projects_values()) {
    LinearSerial(inner, scratch, gather(layout.value, layout.value_length()),
                 p.op.up->v[head], values);
  } else {
    GatherSlices(inner, layout.value, group, rows, values.data, values.stride);
  }
  if (tile.bf16()) {
    const TileRows half_keys = Halves(inner, scratch, keys);
    inner.pack_key_pairs(half_keys.row, rows.count, 0, dim, dim / 2,
                         tile.key_pairs);
    PackValues(inner, {0, values.cols}, Halves(inner, scratch, values),
               tile.value_pairs);
  } else {
    const void* key_rows[kTileTokens];
    for (int t = 0; t < rows.count; ++t) key_rows[t] = keys[t];
    inner.pack_keys(DType::kF32, key_rows, rows.count, 0, dim, tile.k_t);
  }
  scratch.Rewind(mark);
}

// Attends for the task's queries of `heads` heads from `first_head` on; `load`
// fills a tile. Returns [queries * heads, width], in that order.
template <typename Load>
Rows RunTask(const Prefill& p, Scratch& scratch, const Task& task,
             int first_head, int heads, int width, const Load& load) {
  const SequenceSpan& span = *task.span;
  const int dim = p.op.query_dim();
  const int rows = task.count * heads;
  const bool bf16 =
      UsesBF16(p.cpu.inner(), p.op.layout, p.cache.format) && dim % 2 == 0;
  Queries queries{.stride = dim};
  auto* floats = scratch.Take<float>(size_t(rows) * dim);
  auto* halves = bf16 ? scratch.Take<bf16_t>(size_t(rows) * dim) : nullptr;
  queries.floats = floats;
  queries.halves = halves;
  const float scale = p.op.scale * kLog2E;
  for (int i = 0; i < task.count; ++i) {
    const float* src =
        p.q[span.first_row + task.first + i] + size_t(first_head) * dim;
    float* dst = floats + size_t(i) * heads * dim;
    for (int j = 0; j < heads * dim; ++j) dst[j] = src[j] * scale;
  }
  if (bf16) p.cpu.inner().from_float(DType::kBF16, floats, rows * dim, halves);

  RunningSoftmax state(scratch, rows, WholePanels(width));
  Tile tile(scratch, bf16, dim, width);
  int* visible = scratch.Take<int>(rows);
  const int first_position = span.first_position + task.first;
  const int end = first_position + task.count;
  for (int start = 0; start < end; start += kTileTokens) {
    const Scratch::Mark mark = scratch.GetMark();
    TileRows tile_rows(p.cache, span.block_table, start, end);
    load(tile_rows, tile);
    scratch.Rewind(mark);
    for (int row = 0; row < rows; ++row) {
      const int seen = first_position + row / heads + 1 - start;
      visible[row] = std::clamp(seen, 0, tile_rows.count);
    }
    state.Fold(p.cpu.inner(), 0, rows, queries, tile, tile_rows.count, visible);
  }
  for (int row = 0; row < rows; ++row) {
    state.Normalize(row, state.out + size_t(row) * state.width);
  }
  return {state.out, rows, width, size_t(state.width)};
}

// The heads of one group, which share its keys.
void RunGroup(const Prefill& p, Scratch& scratch, const Task& task) {
  const InnerKernels& inner = p.cpu.inner();
  const AttnLayout& layout = p.op.layout;
  const int group = task.part;
  const ElementRange range(layout, group);
  const int first_head = layout.FirstHead(group);
  const int heads = layout.GroupHeads(group);
  const Rows result =
      RunTask(p, scratch, task, first_head, heads, layout.value_length(),
              [&](TileRows& rows, Tile& tile) {
                Widen(inner, scratch, p.cache.format, range, rows);
                if (layout.rotate_on_read) {
                  LoadRotated(inner, scratch, p.op, group, rows, tile);
                } else {
                  LoadSlices(inner, layout, group, rows, scratch, tile);
                }
              });
  const int dim = p.op.output_dim();
  for (int h = 0; h < heads; ++h) {
    const Rows out = p.out.Slice(task.span->first_row + task.first, task.count)
                         .Columns((first_head + h) * dim, dim);
    const Rows head{result[h], task.count, result.cols, heads * result.stride};
    if (p.op.projects_values()) {
      LinearSerial(inner, scratch, head, p.op.up->v[first_head + h], out);
      continue;
    }
    for (int i = 0; i < task.count; ++i) std::copy_n(head[i], dim, out[i]);
  }
}

// One head, whose branches are summed.
void RunHead(const Prefill& p, Scratch& scratch, const Task& task) {
  const int dim = p.op.output_dim();
  const Rows out = p.out.Slice(task.span->first_row + task.first, task.count)
                       .Columns(task.part * dim, dim);
  for (int branch = 0; branch < p.op.layout.branches; ++branch) {
    const int virtual_head = branch * p.op.layout.heads + task.part;
    const ElementRange range(p.op.layout, p.op.layout.GroupOf(virtual_head));
    const Scratch::Mark mark = scratch.GetMark();
    const Rows result = RunTask(
        p, scratch, task, task.part, 1, dim, [&](TileRows& rows, Tile& tile) {
          Widen(p.cpu.inner(), scratch, p.cache.format, range, rows);
          Materialise(p, scratch, virtual_head, rows, tile);
        });
    for (int i = 0; i < task.count; ++i) {
      if (branch == 0) {
        std::copy_n(result[i], dim, out[i]);
      } else {
        p.cpu.inner().add_scaled(result[i], 1.0f, dim, out[i]);
      }
    }
    scratch.Rewind(mark);
  }
}

}  // namespace

void LoadRotated(const InnerKernels& inner, Scratch& scratch,
                 const AttentionOp& op, int group, const TileRows& rows,
                 Tile& tile) {
  const Scratch::Mark mark = scratch.GetMark();
  const AttnLayout& layout = op.layout;
  const int length = layout.key_length();
  const Rows view{scratch.Take<float>(size_t(rows.count) * length), rows.count,
                  length, size_t(length)};
  GatherSlices(inner, layout.key, group, rows, view.data, length);
  Rows keys = view;
  if (op.projects_keys()) {
    const PackedMatrix& w = op.up->k[group];
    const int dim = op.query_dim();
    keys = {scratch.Take<float>(size_t(rows.count) * dim), rows.count, dim,
            size_t(dim)};
    LinearSerial(inner, scratch, view.Columns(0, w.k()), w,
                 keys.Columns(0, w.n()));
    for (int t = 0; t < rows.count; ++t) {
      std::copy(view[t] + w.k(), view[t] + length, keys[t] + w.n());
    }
  }
  const void* key_rows[kTileTokens];
  for (int t = 0; t < rows.count; ++t) {
    inner.rotate(op.cos.cols, op.cos[rows.first + t], op.sin[rows.first + t],
                 keys[t]);
    key_rows[t] = keys[t];
  }
  inner.pack_keys(DType::kF32, key_rows, rows.count, 0, keys.cols, tile.k_t);
  GatherSlices(inner, layout.value, group, rows, tile.v, tile.v_stride);
  scratch.Rewind(mark);
}

void AttendPrefill(CpuContext& cpu, const AttentionOp& op,
                   const CacheRows& cache, const SequenceSpan* spans,
                   int num_spans, Rows q, Rows out) {
  const AttnLayout& layout = op.layout;
  const Prefill prefill{cpu, op, cache, q, out};
  const bool by_head = op.absorbs_keys();
  const int parts = by_head ? layout.heads : layout.groups;
  int queries = kSliceQueries;
  if (by_head || layout.rotate_on_read) {
    const int sharing = std::max(1, layout.heads / parts);
    queries = std::max(queries, kMaterialisedQueries / sharing);
  }
  const std::vector<Task> tasks = Cut(spans, num_spans, parts, queries);
  cpu.pool().Run(static_cast<int>(tasks.size()), [&](int index, int thread) {
    Scratch& scratch = cpu.ThreadScratch(thread);
    scratch.Reset();
    (by_head ? RunHead : RunGroup)(prefill, scratch, tasks[index]);
  });
}

}  // namespace mla::kernels

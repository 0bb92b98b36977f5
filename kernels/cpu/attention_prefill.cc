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
// ...and where it means up-projecting 64 latents for one head.
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

// Up-projects one tile of latents to one head's keys and values.
void Materialise(const InnerKernels& inner, Scratch& scratch,
                 const AttentionOp& op, int head, DType dtype,
                 const TileRows& rows, float* latents, float* keys,
                 Tile& tile) {
  const UpProjection& up = *op.up;
  const int rank = op.layout.key[0].length;
  const int nope = up.qk_nope_head_dim;
  for (int t = 0; t < rows.count; ++t) {
    inner.to_float(dtype, rows.row[t], rank, latents + size_t(t) * rank);
  }
  const Rows c{latents, rows.count, rank, size_t(rank)};
  const int v = up.v_head_dim;
  LinearSerial(inner, scratch, c, up.k[head],
               {keys, rows.count, nope, size_t(nope)});
  LinearSerial(inner, scratch, c, up.v[head],
               {tile.v, rows.count, v, size_t(v)});

  const void* key_rows[kTileTokens];
  for (int t = 0; t < rows.count; ++t) key_rows[t] = keys + size_t(t) * nope;
  inner.pack_keys(DType::kF32, key_rows, rows.count, 0, nope, tile.k_t);
  inner.pack_keys(dtype, rows.row, rows.count, op.layout.key[1].offset,
                  up.qk_rope_head_dim, tile.k_t + size_t(nope) * kTileTokens);
}

// Runs one task; `load(rows, tile)` fills a tile, `heads` query heads from
// `first_head` on read it.
template <typename Load>
void RunTask(CpuContext& cpu, Scratch& scratch, const AttentionOp& op,
             const CacheRows& cache, const Task& task, int first_head,
             int heads, int key_length, int value_length, Rows q, Rows out,
             Load&& load) {
  const SequenceSpan& span = *task.span;
  const int rows = task.count * heads;
  float* queries = scratch.Take<float>(size_t(rows) * key_length);
  const float scale = op.scale * kLog2E;
  for (int i = 0; i < task.count; ++i) {
    const float* src =
        q[span.first_row + task.first + i] + size_t(first_head) * key_length;
    float* dst = queries + size_t(i) * heads * key_length;
    for (int j = 0; j < heads * key_length; ++j) dst[j] = src[j] * scale;
  }

  RunningSoftmax state(scratch, rows, value_length);
  Tile tile(scratch, key_length, value_length);
  const int first_position = span.first_position + task.first;
  const int end = first_position + task.count;
  for (int start = 0; start < end; start += kTileTokens) {
    const TileRows tile_rows(cache, span.block_table, start, end);
    load(tile_rows, tile);
    for (int row = 0; row < rows; ++row) {
      const int seen = first_position + row / heads + 1 - start;
      state.visible[row] = std::clamp(seen, 0, tile_rows.count);
    }
    state.Fold(cpu.inner(), queries, key_length, tile, tile_rows.count);
  }
  for (int row = 0; row < rows; ++row) {
    const int head = first_head + row % heads;
    state.Normalize(row, out[span.first_row + task.first + row / heads] +
                             size_t(head) * value_length);
  }
}

}  // namespace

void AttendPrefill(CpuContext& cpu, const AttentionOp& op,
                   const CacheRows& cache, const SequenceSpan* spans,
                   int num_spans, Rows q, Rows out) {
  const AttnLayout& layout = op.layout;
  const InnerKernels& inner = cpu.inner();
  const bool slices = op.up == nullptr;
  const std::vector<Task> tasks =
      Cut(spans, num_spans, slices ? layout.groups : layout.heads,
          slices ? kSliceQueries : kMaterialisedQueries);
  cpu.pool().Run(static_cast<int>(tasks.size()), [&](int index, int thread) {
    const Task& task = tasks[index];
    Scratch& scratch = cpu.ThreadScratch(thread);
    scratch.Reset();
    if (slices) {
      const int heads = layout.heads_per_group();
      RunTask(cpu, scratch, op, cache, task, task.part * heads, heads,
              layout.key_length(), layout.value_length(), q, out,
              [&](const TileRows& rows, Tile& tile) {
                LoadSlices(inner, layout, task.part, cache.dtype, rows, tile);
              });
      return;
    }
    const UpProjection& up = *op.up;
    const int rank = layout.key[0].length;
    float* latents = scratch.Take<float>(size_t{kTileTokens} * rank);
    float* keys =
        scratch.Take<float>(size_t{kTileTokens} * up.qk_nope_head_dim);
    RunTask(cpu, scratch, op, cache, task, task.part, 1,
            up.qk_nope_head_dim + up.qk_rope_head_dim, up.v_head_dim, q, out,
            [&](const TileRows& rows, Tile& tile) {
              const Scratch::Mark mark = scratch.GetMark();
              Materialise(inner, scratch, op, task.part, cache.dtype, rows,
                          latents, keys, tile);
              scratch.Rewind(mark);
            });
  });
}

}  // namespace mla::kernels

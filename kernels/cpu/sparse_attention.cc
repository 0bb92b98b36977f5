// Tested by tests/kernels/sparse_attention_test.cc.
#include "kernels/cpu/sparse_attention.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/attention_tile.h"

namespace mla::kernels {
namespace {

// The cache as blocks of one row, so that a block table can name any rows: of
// one unit that divides both a row and a block, 2^31 at most.
CacheRows AsSingleRows(const CacheRows& cache) {
  CacheRows rows = cache;
  rows.block_tokens = 1;
  rows.block_bytes = std::gcd(cache.block_bytes, cache.row_bytes());
  return rows;
}

// I_t of tokens [0, tokens).
void Score(CpuContext& cpu, const Slice& key, const Indexer& indexer,
           const CacheRows& cache, const int32_t* block_table, int row,
           int tokens, Scratch& scratch, float* scores) {
  const int length = key.length;
  float* keys = scratch.Take<float>(size_t(length) * kTileTokens);
  float products[kTileTokens];
  for (int start = 0; start < tokens; start += kTileTokens) {
    const Scratch::Mark mark = scratch.GetMark();
    TileRows tile(cache, block_table, start, tokens);
    Widen(cpu.inner(), scratch, cache.format, ElementRange(key), tile);
    cpu.inner().pack_keys(tile.dtype, tile.row, tile.count, key.offset, length,
                          keys);
    scratch.Rewind(mark);
    std::fill_n(scores + start, tile.count, 0.0f);
    for (int h = 0; h < indexer.heads; ++h) {
      const float* q = indexer.queries[row] + size_t(h) * length;
      const float weight = indexer.weights[row][h];
      std::fill_n(products, kTileTokens, 0.0f);
      for (int j = 0; j < length; ++j) {
        cpu.inner().add_scaled(keys + size_t(j) * kTileTokens, q[j],
                               kTileTokens, products);
      }
      for (int t = 0; t < tile.count; ++t) {
        scores[start + t] += weight * std::max(products[t], 0.0f);
      }
    }
  }
}

// The positions of the `count` largest scores, ascending.
void Select(const float* scores, int tokens, int count, int32_t* order) {
  std::iota(order, order + tokens, 0);
  std::nth_element(
      order, order + count - 1, order + tokens, [scores](int32_t a, int32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
      });
  std::sort(order, order + count);
}

// Rows of some spans, each a sequence of its own over the rows it selected.
struct SelectedRows {
  const CacheRows& cache;
  const CacheRows single;
  const int top_k;
  const int32_t* const selected;
  std::vector<SequenceSpan> spans;
  std::vector<int32_t> tables;  // [spans, top_k]

  SelectedRows(const CacheRows& cache, int top_k, const int32_t* selected)
      : cache(cache),
        single(AsSingleRows(cache)),
        top_k(top_k),
        selected(selected) {}

  // Adds the span's rows from `first` on.
  void Add(const SequenceSpan& span, int first) {
    for (int i = first; i < span.num_rows; ++i) {
      const int row = span.first_row + i;
      const int count = std::min(span.first_position + i + 1, top_k);
      for (int t = 0; t < count; ++t) {
        const std::byte* p =
            cache.Row(span.block_table, selected[size_t(row) * top_k + t]);
        tables.push_back(
            static_cast<int32_t>((p - single.data) / single.block_bytes));
      }
      tables.resize(tables.size() + top_k - count);
      spans.push_back({row, 1, count - 1});
    }
  }

  void Attend(CpuContext& cpu, const AttentionOp& op, Rows q, Rows out) {
    for (size_t i = 0; i < spans.size(); ++i) {
      spans[i].block_table = &tables[i * top_k];
    }
    AttendDecode(cpu, op, single, spans.data(), static_cast<int>(spans.size()),
                 q, out);
    spans.clear();
    tables.clear();
  }
};

}  // namespace

void SelectTokens(CpuContext& cpu, const AttnLayout& layout,
                  const Indexer& indexer, const CacheRows& cache,
                  const SequenceSpan* spans, int num_spans, int32_t* selected) {
  struct Query {
    int row;
    int tokens;  // it may see [0, tokens)
    const int32_t* block_table;
  };
  std::vector<Query> queries;
  for (int s = 0; s < num_spans; ++s) {
    for (int i = 0; i < spans[s].num_rows; ++i) {
      queries.push_back({spans[s].first_row + i,
                         spans[s].first_position + i + 1,
                         spans[s].block_table});
    }
  }
  cpu.pool().Run(static_cast<int>(queries.size()), [&](int i, int thread) {
    const Query& query = queries[i];
    Scratch& scratch = cpu.ThreadScratch(thread);
    scratch.Reset();
    const int count = std::min(query.tokens, indexer.top_k);
    int32_t* order = scratch.Take<int32_t>(query.tokens);
    std::iota(order, order + query.tokens, 0);
    if (count < query.tokens) {
      float* scores = scratch.Take<float>(query.tokens);
      Score(cpu, layout.index, indexer, cache, query.block_table, query.row,
            query.tokens, scratch, scores);
      Select(scores, query.tokens, count, order);
    }
    std::copy_n(order, count, selected + size_t(query.row) * indexer.top_k);
  });
}

void AttendDecodeSparse(CpuContext& cpu, const AttentionOp& op, int top_k,
                        const int32_t* selected, const CacheRows& cache,
                        const SequenceSpan* spans, int num_spans, Rows q,
                        Rows out) {
  SelectedRows rows(cache, top_k, selected);
  for (int s = 0; s < num_spans; ++s) rows.Add(spans[s], 0);
  rows.Attend(cpu, op, q, out);
}

void AttendPrefillSparse(CpuContext& cpu, const AttentionOp& op, int top_k,
                         const int32_t* selected, const CacheRows& cache,
                         const SequenceSpan* spans, int num_spans, Rows q,
                         Rows out) {
  SelectedRows sparse(cache, top_k, selected);
  std::vector<SequenceSpan> dense;
  for (int s = 0; s < num_spans; ++s) {
    const SequenceSpan& span = spans[s];
    const int rows = std::clamp(top_k - span.first_position, 0, span.num_rows);
    if (rows > 0) {
      dense.push_back(
          {span.first_row, rows, span.first_position, span.block_table});
    }
    sparse.Add(span, rows);
    sparse.Attend(cpu, op, q, out);  // decode's rows are consecutive
  }
  AttendPrefill(cpu, op, cache, dense.data(), static_cast<int>(dense.size()), q,
                out);
}

}  // namespace mla::kernels

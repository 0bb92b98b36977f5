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
    const TileRows tile(cache, block_table, start, tokens);
    cpu.inner().pack_keys(cache.dtype, tile.row, tile.count, key.offset, length,
                          keys);
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

// A block table of single rows for each of the span's rows from `first` on.
class SelectedRows {
 public:
  SelectedRows(CpuContext& cpu, const AttentionOp& op, const Indexer& indexer,
               const CacheRows& cache)
      : cpu_(cpu),
        op_(op),
        indexer_(indexer),
        cache_(cache),
        single_(AsSingleRows(cache)) {}

  void Add(const SequenceSpan& span, int first) {
    for (int i = first; i < span.num_rows; ++i) {
      const int tokens = span.first_position + i + 1;
      queries_.push_back({span.first_row + i, tokens, span.block_table});
    }
  }

  void Attend(Rows q, Rows out) {
    if (queries_.empty()) return;
    std::vector<int32_t> tables(queries_.size() * indexer_.top_k);
    std::vector<SequenceSpan> spans(queries_.size());
    cpu_.pool().Run(static_cast<int>(queries_.size()), [&](int i, int thread) {
      const Query& query = queries_[i];
      int32_t* table = &tables[size_t(i) * indexer_.top_k];
      const int count = std::min(query.tokens, indexer_.top_k);
      FillTable(query, count, cpu_.ThreadScratch(thread), table);
      spans[i] = {query.row, 1, count - 1, table};
    });
    AttendDecode(cpu_, op_, single_, spans.data(),
                 static_cast<int>(spans.size()), q, out);
    queries_.clear();
  }

 private:
  struct Query {
    int row;
    int tokens;  // it may see [0, tokens)
    const int32_t* block_table;
  };

  void FillTable(const Query& query, int count, Scratch& scratch,
                 int32_t* table) {
    scratch.Reset();
    int32_t* order = scratch.Take<int32_t>(query.tokens);
    std::iota(order, order + query.tokens, 0);
    if (count < query.tokens) {
      float* scores = scratch.Take<float>(query.tokens);
      Score(cpu_, op_.layout.index, indexer_, cache_, query.block_table,
            query.row, query.tokens, scratch, scores);
      Select(scores, query.tokens, count, order);
    }
    for (int i = 0; i < count; ++i) {
      const std::byte* row = cache_.Row(query.block_table, order[i]);
      table[i] =
          static_cast<int32_t>((row - single_.data) / single_.block_bytes);
    }
  }

  CpuContext& cpu_;
  const AttentionOp& op_;
  const Indexer& indexer_;
  const CacheRows& cache_;
  const CacheRows single_;
  std::vector<Query> queries_;
};

}  // namespace

void AttendDecodeSparse(CpuContext& cpu, const AttentionOp& op,
                        const Indexer& indexer, const CacheRows& cache,
                        const SequenceSpan* spans, int num_spans, Rows q,
                        Rows out) {
  SelectedRows selected(cpu, op, indexer, cache);
  for (int s = 0; s < num_spans; ++s) selected.Add(spans[s], 0);
  selected.Attend(q, out);
}

void AttendPrefillSparse(CpuContext& cpu, const AttentionOp& op,
                         const Indexer& indexer, const CacheRows& cache,
                         const SequenceSpan* spans, int num_spans, Rows q,
                         Rows out) {
  SelectedRows selected(cpu, op, indexer, cache);
  std::vector<SequenceSpan> dense;
  for (int s = 0; s < num_spans; ++s) {
    const SequenceSpan& span = spans[s];
    const int rows =
        std::clamp(indexer.top_k - span.first_position, 0, span.num_rows);
    if (rows > 0) {
      dense.push_back(
          {span.first_row, rows, span.first_position, span.block_table});
    }
    selected.Add(span, rows);
    selected.Attend(q, out);  // decode's rows are consecutive
  }
  AttendPrefill(cpu, op, cache, dense.data(), static_cast<int>(dense.size()), q,
                out);
}

}  // namespace mla::kernels

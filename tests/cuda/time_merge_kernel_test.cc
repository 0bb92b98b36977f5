// Rows that stand for several tokens, against their definition
// (kernels/cuda/cache_args.h), token after token: its chunk's row before it
// plus x, rounded to float32 and then to the cache's type. A double has enough
// bits that a sum of two float32 rounded by way of it is the sum rounded once
// (Figueroa, "When is double rounding innocuous?", 1995), so there is no
// tolerance, and all bytes of what the kernel may write are compared.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "cuda_host/control.h"
#include "kernels/cuda/launch/cache.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Bytes;
using cuda_host::CachedRows;
using cuda_host::InEveryOrder;
using cuda_host::ToDevice;
using cuda_host::ToHost;
using cuda_host::WithGaps;
using cuda_host::WithOneNan;
using ::mla::testing::RandomFloats;

struct Merge {
  CachedRows cache;
  int summed = 0;
  std::vector<AttentionSpan> spans;  // rows between them are nobody's
  int rows = 0;
  std::vector<int32_t> tables;
  std::vector<float> x;
  Bytes before;

  Merge(const CachedRows& c, int s,
        const std::vector<std::pair<int, int>>& tokens)
      : cache(c), summed(s) {
    for (const auto& [count, first] : tokens) {
      spans.push_back(
          {rows, count, first, static_cast<int32_t>(tables.size())});
      rows += count + 1;
      for (int at = 0; at < first + count; at += cache.block_tokens) {
        tables.push_back(static_cast<int32_t>(tables.size()));
      }
    }
    std::reverse(tables.begin(), tables.end());
    cache.num_blocks = static_cast<int>(tables.size()) + 1;
    x = WithGaps(RandomFloats(size_t(rows) * (cache.width + 3), 3),
                 cache.width);
    before.assign(cache.bytes(), 0x45);  // some 3150 in either type
    const std::vector<float> old = RandomFloats(100, 4);
    for (const AttentionSpan& span : spans) {
      const int begun = span.first_position / cache.time_stride;
      if (span.first_position % cache.time_stride == 0) continue;
      for (int c = 0; c < cache.width; ++c) {
        cache.type.Store(old[c % 100], before, At(span, begun, c));
      }
    }
  }

  size_t At(const AttentionSpan& span, int index, int i) const {
    return cache.At(tables[span.block_table + index / cache.block_rows()],
                    index % cache.block_rows(), i);
  }
  size_t NewestAt(int row, int i) const {
    return size_t(row) * cache.row_bytes() + i * cache.type.bytes();
  }

  // The cache, then `newest`; a launch for each group of spans.
  Bytes Run(const std::vector<std::vector<AttentionSpan>>& launches) const {
    auto* memory = ToDevice(before);
    const size_t newest_bytes = size_t(rows) * cache.row_bytes();
    auto* newest = ToDevice(Bytes(newest_bytes, 0xa5));
    MergeRowsArgs args;
    args.cache = cache.Args(memory);
    args.x = cuda_host::GappedRows(ToDevice(x), rows, cache.width);
    args.block_tables = ToDevice(tables);
    args.summed = summed;
    args.newest = newest;
    for (const std::vector<AttentionSpan>& launch : launches) {
      args.spans = ToDevice(launch);
      args.num_spans = static_cast<int>(launch.size());
      EXPECT_EQ(LaunchMergeRows(args, nullptr), cudaSuccess);
    }
    Bytes all = ToHost(memory, cache.bytes());
    const Bytes tail = ToHost(newest, newest_bytes);
    all.insert(all.end(), tail.begin(), tail.end());
    return all;
  }

  // A launch for each token, as if each were a step's only one.
  std::vector<std::vector<AttentionSpan>> TokenByToken() const {
    std::vector<std::vector<AttentionSpan>> launches;
    for (const AttentionSpan& span : spans) {
      for (int i = 0; i < span.num_rows; ++i) {
        launches.push_back({{span.first_row + i, 1, span.first_position + i,
                             span.block_table}});
      }
    }
    return launches;
  }

  // What one token makes of both.
  void Add(const AttentionSpan& span, int i, Bytes& pool, Bytes& newest) const {
    const int position = span.first_position + i, row = span.first_row + i;
    const bool first = position % cache.time_stride == 0;
    for (int c = 0; c < cache.width; ++c) {
      const size_t slot = At(span, position / cache.time_stride, c);
      double sum = x[size_t(row) * (cache.width + 3) + c];
      if (c < summed && !first) sum += cache.type.Load(pool, slot);
      cache.type.Store(static_cast<float>(sum), pool, slot);
      cache.type.Store(static_cast<float>(sum), newest, NewestAt(row, c));
    }
  }

  void Check() const {
    const Bytes found = InEveryOrder([&] { return Run({spans}); });
    cuda_host::ResetDevice();
    EXPECT_TRUE(Run(TokenByToken()) == found) << "by one token";
    Bytes pool = before, newest(found.size() - pool.size(), 0xa5);
    for (const AttentionSpan& span : spans) {
      for (int i = 0; i < span.num_rows; ++i) Add(span, i, pool, newest);
    }
    pool.insert(pool.end(), newest.begin(), newest.end());
    EXPECT_TRUE(WithOneNan(found, cache.type) == WithOneNan(pool, cache.type));
  }
};

TEST(MergeRowsKernel, AddsUpEachChunkTokenByToken) {
  for (const bool f32 : {false, true}) {
    for (const int stride : {2, 3}) {
      for (const auto& [width, summed] : std::vector<std::pair<int, int>>{
               {1, 1}, {7, 5}, {33, 0}, {33, 33}, {150, 131}}) {
        SCOPED_TRACE("stride " + std::to_string(stride) + ", width " +
                     std::to_string(width));
        const CachedRows cache{width, 12, stride, {f32}};
        Merge(cache, summed, {{1, 0}}).Check();
        Merge(cache, summed, {{1, 5}, {3, 2}, {0, 7}, {67, 9}, {1, 12}})
            .Check();
      }
    }
  }
}

TEST(MergeRowsKernel, NanStaysInItsChunkAndColumns) {
  Merge merge(CachedRows{7, 12, 4, {false}}, 5, {{8, 2}, {3, 4}});
  const size_t row = size_t{3} * (7 + 3);
  merge.x[row + 1] = merge.x[row + 6] = NAN;  // of a sum, and of what is not
  merge.Check();
}

TEST(MergeRowsKernel, ASpanIsTheSameAlone) {
  const Merge merge(CachedRows{33, 12, 4, {false}}, 20,
                    {{5, 2}, {40, 1}, {1, 11}});
  cuda_host::ResetDevice();
  const Bytes together = merge.Run({merge.spans});
  EXPECT_TRUE(
      merge.Run({{merge.spans[2]}, {merge.spans[0]}, {merge.spans[1]}}) ==
      together);
}

}  // namespace
}  // namespace mla::kernels::cuda

// Rows that stand for several tokens, against sums written out here.
#include "kernels/cpu/time_merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/random.h"

namespace mla::kernels {
namespace {

constexpr int kTokens = 10, kWidth = 7, kSummed = 5, kBlockRows = 2;

struct Merged {
  std::vector<float> cache;   // rows in order
  std::vector<float> newest;  // a row per token
};

// Merges the tokens in steps of the given sizes.
Merged Merge(int stride, const std::vector<int>& steps, DType dtype) {
  AttnLayout layout = MlaLayout(1, kSummed, kWidth - kSummed);
  layout.time_stride = stride;
  const int rows = (kTokens + stride - 1) / stride;
  const std::vector<int32_t> table = {4, 1, 3, 0, 2};
  CacheRows cache{nullptr, 0, kBlockRows, RowFormatOf(kWidth, dtype)};
  cache.block_bytes = kBlockRows * cache.row_bytes();
  std::vector<std::byte> bytes(table.size() * cache.block_bytes,
                               std::byte{0xff});
  cache.data = bytes.data();
  std::vector<float> x = mla::testing::RandomFloats(kTokens * kWidth, 1);
  std::vector<std::byte> newest(kTokens * cache.row_bytes());
  int first = 0;
  for (const int count : steps) {
    const Rows step{&x[first * kWidth], count, kWidth, kWidth};
    MergeRows(layout, cache, {0, count, first, table.data()}, step,
              newest.data() + first * cache.row_bytes());
    first += count;
  }
  EXPECT_EQ(first, kTokens);
  Merged merged;
  const auto read = [&](const std::byte* row, std::vector<float>& to) {
    for (int i = 0; i < kWidth; ++i) {
      to.push_back(dtype == DType::kBF16
                       ? FromBF16(reinterpret_cast<const bf16_t*>(row)[i])
                       : reinterpret_cast<const float*>(row)[i]);
    }
  };
  for (int r = 0; r < rows; ++r) read(cache.Row(table.data(), r), merged.cache);
  for (int t = 0; t < kTokens; ++t) {
    read(newest.data() + t * cache.row_bytes(), merged.newest);
  }
  return merged;
}

TEST(TimeMerge, LatentsAddUpAndTheNewestRopeKeyStays) {
  const std::vector<float> x = mla::testing::RandomFloats(kTokens * kWidth, 1);
  for (const int stride : {2, 3, 4}) {
    const Merged merged = Merge(stride, {kTokens}, DType::kF32);
    for (int t = 0; t < kTokens; ++t) {
      for (int i = 0; i < kWidth; ++i) {
        double sum = x[t * kWidth + i];
        for (int u = t / stride * stride; u < t && i < kSummed; ++u) {
          sum += x[u * kWidth + i];
        }
        EXPECT_NEAR(merged.newest[t * kWidth + i], sum, 1e-6);
        if (t == kTokens - 1 || t % stride == stride - 1) {
          EXPECT_EQ(merged.cache[t / stride * kWidth + i],
                    merged.newest[t * kWidth + i]);
        }
      }
    }
  }
}

TEST(TimeMerge, StepsDoNotChangeABit) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const int stride : {2, 3}) {
      const Merged whole = Merge(stride, {kTokens}, dtype);
      const Merged steps = Merge(stride, {1, 3, 1, 1, 4}, dtype);
      EXPECT_EQ(steps.cache, whole.cache);
      EXPECT_EQ(steps.newest, whole.newest);
    }
  }
}

}  // namespace
}  // namespace mla::kernels

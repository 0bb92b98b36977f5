// A selection by the indexer: random queries over random keys, a launch of it,
// and its definition: every score in double, and the chosen tokens as
// SelectArgs says.
//
// Tolerance, with eps = 2^-24: a product of d elements is off by at most
//   (d + 1) eps sum |q k|,
// which relu does not increase; a product with its weight adds eps of itself,
// and a sum over H heads H eps of what it sums. So a score is within
//   b = (d + H + 3) eps sum over h of |w_h| sum |q_h k|
// of I_t, the 3 also for products of errors. Whoever is chosen then has I + b
// of at least the I - b of whoever is not. Where all is small integers, nothing
// is rounded, many scores are equal, and the choice is compared as it is.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_SELECT_CASE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_SELECT_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "kernels/cuda/launch/cache.h"
#include "tests/support/random.h"

namespace cuda_host {

constexpr float kNoScore = 12345.0f;
constexpr int32_t kNoPosition = -7;

struct Selected {
  std::vector<int32_t> selected;  // [rows, top_k]
  std::vector<float> scores;      // [rows, max_tokens]
};

// Queries of several sequences; blocks in no order, a layer of two in each.
// What nobody may look at is NaN: other columns, tokens and gaps.
struct SelectCase {
  int heads = 1, length = 1, offset = 0, width = 1;
  bool f32 = false, integers = false;
  int top_k = 1, max_tokens = 1;
  int block_tokens = 16;
  std::vector<int32_t> positions = {};  // of the rows

  // Filled: row i's sequence is i % sequences.
  int sequences = 2;
  std::vector<float> keys = {};  // [sequences, max_tokens, length], as cached
  std::vector<float> queries = {}, weights = {};
  std::vector<int32_t> block_table = {};
  Bytes cache = {};

  int rows() const { return static_cast<int>(positions.size()); }
  int table_blocks() const {
    return (max_tokens + block_tokens - 1) / block_tokens;
  }
  CachedRows Pool() const {
    return {width, block_tokens, 1, {f32}, sequences * table_blocks()};
  }
  int query_stride() const { return heads * length + 3; }
  int weight_stride() const { return heads + 2; }
  float& Key(int row, int token, int i) {
    const int64_t sequence = row % sequences;
    return keys[(sequence * max_tokens + token) * length + i];
  }

  std::vector<float> Values(size_t count, uint64_t seed) const {
    std::vector<float> v = mla::testing::RandomFloats(count, seed);
    if (!integers) return v;
    for (float& x : v) x = std::clamp(std::round(x), -2.0f, 2.0f);
    return v;
  }

  void Fill(uint64_t seed) {
    keys = Values(size_t(sequences) * max_tokens * length, seed);
    queries = Values(size_t(rows()) * query_stride(), seed + 1);
    weights = Values(size_t(rows()) * weight_stride(), seed + 2);
    if (!f32) {
      for (float& x : keys) x = static_cast<float>(FromBf16(NearestBf16(x)));
    }
    for (size_t i = 0; i < queries.size(); ++i) {
      if (int(i % query_stride()) >= heads * length) queries[i] = NAN;
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      if (int(i % weight_stride()) >= heads) weights[i] = NAN;
    }
    block_table.resize(size_t(sequences) * table_blocks());
    std::iota(block_table.begin(), block_table.end(), 0);
    std::mt19937_64 random(seed);
    std::shuffle(block_table.begin(), block_table.end(), random);
    StoreKeys();
  }

  void StoreKeys() {
    const CachedRows pool = Pool();
    cache.assign(pool.bytes(), 0xff);
    for (int s = 0; s < sequences; ++s) {
      for (int t = 0; t < max_tokens; ++t) {
        const int block = block_table[s * table_blocks() + t / block_tokens];
        for (int i = 0; i < length; ++i) {
          pool.type.Store(Key(s, t, i), cache,
                          pool.At(block, t % block_tokens, offset + i));
        }
      }
    }
  }

  // Rows [first, first + count) in one launch.
  Selected Run(int first, int count, const Schedule& schedule = {}) const {
    ResetDevice();
    Engine::Get().set_schedule(schedule);
    std::vector<int32_t> tables;
    for (int i = 0; i < rows(); ++i) {
      tables.push_back(i % sequences * table_blocks());
    }
    mla::kernels::cuda::SelectArgs args;
    args.cache = Pool().Args(ToDevice(cache));
    args.index = {offset, 0, length};
    args.queries = {ToDevice(queries) + size_t(first) * query_stride(), count,
                    heads * length, size_t(query_stride())};
    args.weights = {ToDevice(weights) + size_t(first) * weight_stride(), count,
                    heads, size_t(weight_stride())};
    args.heads = heads;
    args.top_k = top_k;
    args.positions = ToDevice(positions) + first;
    args.tables = ToDevice(tables) + first;
    args.block_tables = ToDevice(block_table);
    args.max_tokens = max_tokens;
    Selected found;
    found.scores.assign(size_t(count) * max_tokens, kNoScore);
    found.selected.assign(size_t(count) * top_k, kNoPosition);
    args.scores = ToDevice(found.scores);
    args.selected = ToDevice(found.selected);
    EXPECT_EQ(mla::kernels::cuda::LaunchSelect(args, nullptr), cudaSuccess);
    found.scores = ToHost(args.scores, found.scores.size());
    found.selected = ToHost(args.selected, found.selected.size());
    return found;
  }
  Selected Run() const { return Run(0, rows()); }

  // I_t and its bound b.
  std::pair<double, double> Score(int row, int t) {
    double score = 0, size = 0;
    for (int h = 0; h < heads; ++h) {
      double product = 0, most = 0;
      for (int i = 0; i < length; ++i) {
        const double x =
            double{queries[size_t(row) * query_stride() + h * length + i]} *
            Key(row, t, i);
        product += x;
        most += std::fabs(x);
      }
      const double w = weights[size_t(row) * weight_stride() + h];
      score += w * (product < 0 ? 0 : product);
      size += std::fabs(w) * most;
    }
    return {score, (length + heads + 3) * 0x1p-24 * size};
  }
};

// Positions, ascending: the largest scores, ties to the earlier, NaN last.
inline std::vector<int32_t> Largest(const std::vector<double>& scores,
                                    int count) {
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (std::isnan(scores[a])) return false;
    return std::isnan(scores[b]) || scores[a] > scores[b];
  });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

inline std::vector<int32_t> Chosen(const SelectCase& c, const Selected& found,
                                   int row, int count) {
  const auto first = found.selected.begin() + int64_t{row} * c.top_k;
  return {first, first + count};
}

inline void CheckRow(SelectCase& c, const Selected& found, int row) {
  SCOPED_TRACE("row " + std::to_string(row) + " at " +
               std::to_string(c.positions[row]));
  const int tokens = std::max(c.positions[row] + 1, 0);
  const int count = std::min(tokens, c.top_k);
  const std::vector<int32_t> chosen = Chosen(c, found, row, count);
  for (int t = 0; t < c.max_tokens; ++t) {
    const float score = found.scores[size_t(row) * c.max_tokens + t];
    if (tokens <= c.top_k || t >= tokens) {
      ASSERT_EQ(score, kNoScore) << "token " << t;
    }
  }
  if (tokens <= c.top_k) {
    std::vector<int32_t> all(tokens);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(chosen, all);
    for (int i = count; i < c.top_k; ++i) {
      EXPECT_EQ(found.selected[size_t(row) * c.top_k + i], kNoPosition);
    }
    return;
  }
  std::vector<double> scores(tokens), bounds(tokens);
  for (int t = 0; t < tokens; ++t) {
    std::tie(scores[t], bounds[t]) = c.Score(row, t);
    const float score = found.scores[size_t(row) * c.max_tokens + t];
    if (std::isnan(scores[t])) {
      ASSERT_TRUE(std::isnan(score)) << "token " << t;
    } else {
      ASSERT_LE(std::fabs(score - scores[t]), bounds[t]) << "token " << t;
    }
  }
  if (c.integers) {
    EXPECT_EQ(chosen, Largest(scores, count));
    return;
  }
  std::vector<bool> is_chosen(tokens);
  for (int i = 0; i < count; ++i) {
    ASSERT_LT(i == 0 ? -1 : chosen[i - 1], chosen[i]);
    ASSERT_LT(chosen[i], tokens);
    is_chosen[chosen[i]] = true;
  }
  double least = INFINITY, most = -INFINITY;
  for (int t = 0; t < tokens; ++t) {
    if (is_chosen[t]) least = std::min(least, scores[t] + bounds[t]);
    if (!is_chosen[t]) most = std::max(most, scores[t] - bounds[t]);
  }
  EXPECT_GE(least, most);
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_SELECT_CASE_H_

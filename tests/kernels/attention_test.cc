// Attention against its definition: per head, keys and values built in double
// from the cached rows, softmax, weighted sum; no tiles, splits or absorption.
//
// Tolerance: with u = 2^-24, a score is off by at most ds = u * (dims + 8) *
// max sum |q k| (times log2(e), and through the up-projection's own sum when
// absorbed); a weight then by a factor within e^(+-2 ds) and Exp2's 4u; the
// sum over T tokens adds T u. The output is a weighted mean of values, so its
// error is at most (2 ds + (T + 8) u) * max |v|.
#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

struct Case {
  const char* name;
  AttnLayout layout;
  int nope = 0, rope = 0, v_dim = 0;  // MLA

  bool latent() const { return nope > 0; }
  int query_dim() const { return latent() ? nope + rope : layout.key_length(); }
  int output_dim() const { return latent() ? v_dim : layout.value_length(); }
};

std::vector<Case> Cases() {
  return {
      {"smollm2", GqaLayout(9, 3, 64)},
      {"mha", GqaLayout(3, 3, 32)},
      {"mqa_odd", GqaLayout(5, 1, 24)},
      {"v2_lite_small", MlaLayout(4, 64, 16), 32, 16, 32},
      {"minicpm3_odd", MlaLayout(4, 40, 16), 16, 16, 32},
      {"many_heads", MlaLayout(19, 96, 32), 24, 32, 40},
      {"deepseek_v3", MlaLayout(2, 512, 64), 128, 64, 128},
  };
}

constexpr int kBlockTokens = 64;

// A pool whose every unused row is NaN, holding sequences of given lengths.
struct Pool {
  Pool(const Case& c, DType dtype, const std::vector<int>& lengths)
      : c(c), dtype(dtype) {
    int blocks = 0;
    for (int length : lengths) blocks += Blocks(length);
    bytes.resize((blocks + 3) * block_bytes());
    std::vector<float> poison(bytes.size() / SizeOf(dtype), NAN);
    Write(poison.data(), poison.size(), bytes.data());
    std::vector<int32_t> ids(blocks + 3);
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(5));
    for (size_t s = 0; s < lengths.size(); ++s) {
      std::vector<int32_t>& table =
          tables.emplace_back(ids.end() - Blocks(lengths[s]), ids.end());
      ids.resize(ids.size() - table.size());
      const int width = c.layout.row_width;
      const std::vector<float> rows =
          RandomFloats(size_t(lengths[s]) * width, 100 + s);
      for (int t = 0; t < lengths[s]; ++t) {
        Write(&rows[size_t(t) * width], width, View().Row(table.data(), t));
      }
    }
  }

  static int Blocks(int length) {
    return (length + kBlockTokens - 1) / kBlockTokens;
  }
  size_t block_bytes() const {
    return kBlockTokens * c.layout.row_width * SizeOf(dtype);
  }
  void Write(const float* src, size_t count, std::byte* dst) const {
    for (size_t i = 0; i < count; ++i) {
      if (dtype == DType::kBF16) {
        reinterpret_cast<bf16_t*>(dst)[i] = ToBF16(src[i]);
      } else {
        reinterpret_cast<float*>(dst)[i] = src[i];
      }
    }
  }
  CacheRows View() {
    return {bytes.data(), block_bytes(), kBlockTokens, c.layout.row_width,
            dtype};
  }
  std::vector<double> Row(int sequence, int position) {
    const std::byte* p = View().Row(tables[sequence].data(), position);
    std::vector<double> row(c.layout.row_width);
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = dtype == DType::kBF16
                   ? FromBF16(reinterpret_cast<const bf16_t*>(p)[i])
                   : reinterpret_cast<const float*>(p)[i];
    }
    return row;
  }

  const Case& c;
  DType dtype;
  std::vector<std::byte> bytes;
  std::vector<std::vector<int32_t>> tables;
};

// Up-projections as plain floats and as the kernels take them.
struct Weights {
  explicit Weights(const Case& c, DType dtype) : c(c) {
    const int rank = c.layout.key[0].length;
    const int heads = c.layout.heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(rank));
    k = RandomFloats(size_t(heads) * c.nope * rank, 11, scale);
    v = RandomFloats(size_t(heads) * c.v_dim * rank, 12, scale);
    if (!c.latent()) return;
    for (int h = 0; h < heads; ++h) {
      PackedMatrix& to_k = up.k.emplace_back(dtype, c.nope, rank);
      for (int i = 0; i < c.nope; ++i) to_k.SetRow(i, K(h, i));
      PackedMatrix& absorbed = up.k_absorbed.emplace_back(dtype, rank, c.nope);
      for (int j = 0; j < rank; ++j) {
        std::vector<float> column(c.nope);
        for (int i = 0; i < c.nope; ++i) column[i] = K(h, i)[j];
        absorbed.SetRow(j, column.data());
      }
      PackedMatrix& to_v = up.v.emplace_back(dtype, c.v_dim, rank);
      for (int i = 0; i < c.v_dim; ++i) to_v.SetRow(i, V(h, i));
    }
  }
  const float* K(int head, int i) const {
    return &k[(size_t(head) * c.nope + i) * c.layout.key[0].length];
  }
  const float* V(int head, int i) const {
    return &v[(size_t(head) * c.v_dim + i) * c.layout.key[0].length];
  }
  const UpProjection* Op() const { return c.latent() ? &up : nullptr; }

  const Case& c;
  std::vector<float> k, v;
  UpProjection up;
};

// One head's keys and values of a whole sequence, from the definition.
struct HeadRows {
  std::vector<std::vector<double>> keys, values;
  double max_value = 0;
  // How much larger the terms of a latent's up-projection are than their sum:
  // by this much it amplifies rounding.
  double gain = 1;
};

void AppendSlices(const Slice (&slices)[2], int group,
                  const std::vector<double>& row, std::vector<double>& out) {
  for (const Slice& s : slices) {
    const auto first = row.begin() + s.offset + group * s.group_stride;
    out.insert(out.end(), first, first + s.length);
  }
}

HeadRows BuildHead(const Case& c, const Weights& w, Pool& pool, int sequence,
                   int tokens, int head) {
  HeadRows h;
  const int rank = c.layout.key[0].length;
  for (int t = 0; t < tokens; ++t) {
    const std::vector<double> row = pool.Row(sequence, t);
    std::vector<double>& key = h.keys.emplace_back();
    std::vector<double>& value = h.values.emplace_back();
    if (!c.latent()) {
      const int group = head * c.layout.groups / c.layout.heads;
      AppendSlices(c.layout.key, group, row, key);
      AppendSlices(c.layout.value, group, row, value);
    } else {
      double absolute = 0, total = 1e-30;
      for (int i = 0; i < c.nope; ++i) {
        double sum = 0;
        for (int j = 0; j < rank; ++j) {
          sum += w.K(head, i)[j] * row[j];
          absolute += std::abs(w.K(head, i)[j] * row[j]);
        }
        total += std::abs(sum);
        key.push_back(sum);
      }
      h.gain = std::max(h.gain, absolute / total);
      for (int i = 0; i < c.rope; ++i) key.push_back(row[rank + i]);
      for (int i = 0; i < c.v_dim; ++i) {
        value.push_back(std::inner_product(row.begin(), row.begin() + rank,
                                           w.V(head, i), 0.0));
      }
    }
    for (double v : value) h.max_value = std::max(h.max_value, std::abs(v));
  }
  return h;
}

struct Expected {
  std::vector<double> out;
  double bound;
};

Expected Oracle(const Case& c, const HeadRows& head, int tokens, const float* q,
                float scale) {
  constexpr double u = 0x1.0p-24;
  std::vector<double> p(tokens);
  double magnitude = 0;
  for (int t = 0; t < tokens; ++t) {
    double absolute = 0;
    for (size_t i = 0; i < head.keys[t].size(); ++i) {
      p[t] += q[i] * head.keys[t][i] * scale;
      absolute += std::abs(q[i] * head.keys[t][i]);
    }
    magnitude = std::max(magnitude, absolute);
  }
  const double top = *std::max_element(p.begin(), p.end());
  double total = 0;
  for (double& x : p) total += x = std::exp(x - top);
  Expected e{std::vector<double>(head.values[0].size()), 0};
  for (int t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < e.out.size(); ++i) {
      e.out[i] += p[t] / total * head.values[t][i];
    }
  }
  const int dims = c.layout.key_length() + c.nope;
  const double ds = u * (dims + 8) * magnitude * scale * head.gain;
  // The latent's own sums, where values are up-projected.
  const double up = c.latent() ? u * c.layout.key[0].length * head.gain : 0;
  e.bound = (2 * ds + (tokens + 8) * u + up) * head.max_value;
  return e;
}

struct Query {
  int sequence, first, count;
};

// Runs queries as one call and returns [rows, heads * output_dim].
std::vector<float> Attend(CpuContext& cpu, const Case& c, const Weights& w,
                          Pool& pool, const std::vector<Query>& queries,
                          bool decode, float scale) {
  const int q_width = c.layout.heads * c.query_dim();
  const int out_width = c.layout.heads * c.output_dim();
  std::vector<SequenceSpan> spans;
  std::vector<float> q;
  int rows = 0;
  for (const Query& query : queries) {
    spans.push_back(
        {rows, query.count, query.first, pool.tables[query.sequence].data()});
    rows += query.count;
    for (int i = 0; i < query.count; ++i) {
      const std::vector<float> row =
          RandomFloats(q_width, 1000 * (query.sequence + 1) + query.first + i);
      q.insert(q.end(), row.begin(), row.end());
    }
  }
  std::vector<float> out(size_t(rows) * out_width, NAN);
  const Rows q_rows{q.data(), rows, q_width, size_t(q_width)};
  const Rows out_rows{out.data(), rows, out_width, size_t(out_width)};
  (decode ? AttendDecode : AttendPrefill)(
      cpu, {c.layout, scale, w.Op()}, pool.View(), spans.data(),
      static_cast<int>(spans.size()), q_rows, out_rows);
  return out;
}

float Scale(const Case& c) {
  return 1.0f / std::sqrt(static_cast<float>(c.query_dim()));
}

// Every row of `out` against the oracle.
void Check(const Case& c, const Weights& w, Pool& pool,
           const std::vector<Query>& queries, const std::vector<float>& out) {
  const int q_width = c.layout.heads * c.query_dim();
  const int out_width = c.layout.heads * c.output_dim();
  int first_row = 0;
  for (const Query& query : queries) {
    std::vector<std::vector<float>> q;
    for (int i = 0; i < query.count; ++i) {
      q.push_back(
          RandomFloats(q_width, 1000 * (query.sequence + 1) + query.first + i));
    }
    for (int h = 0; h < c.layout.heads; ++h) {
      const HeadRows head =
          BuildHead(c, w, pool, query.sequence, query.first + query.count, h);
      for (int i = 0; i < query.count; ++i) {
        const Expected e = Oracle(c, head, query.first + i + 1,
                                  &q[i][h * c.query_dim()], Scale(c));
        const float* row =
            &out[size_t(first_row + i) * out_width + h * c.output_dim()];
        for (size_t j = 0; j < e.out.size(); ++j) {
          ASSERT_NEAR(row[j], e.out[j], e.bound)
              << c.name << " sequence " << query.sequence << " position "
              << query.first + i << " head " << h;
        }
      }
    }
    first_row += query.count;
  }
}

using AttentionTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(AttentionTest);

TEST_P(AttentionTest, DecodeMatchesTheDefinition) {
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : Cases()) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const int longest = c.latent() ? 300 : 600;  // the oracle is slow
      Pool pool(c, dtype, {1, 63, 64, 65, longest});
      const Weights w(c, DType::kF32);
      const std::vector<Query> queries = {{0, 0, 1},   {1, 62, 1},
                                          {2, 63, 1},  {3, 60, 5},
                                          {4, 256, 1}, {4, longest - 1, 1}};
      Check(c, w, pool, queries,
            Attend(cpu, c, w, pool, queries, /*decode=*/true, Scale(c)));
    }
  }
}

TEST_P(AttentionTest, PrefillMatchesTheDefinition) {
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : Cases()) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      Pool pool(c, dtype, {1, 70, 130, 200});
      const Weights w(c, DType::kF32);
      const std::vector<Query> queries = {
          {0, 0, 1}, {1, 0, 70}, {2, 100, 30}, {3, 199, 1}};
      Check(c, w, pool, queries,
            Attend(cpu, c, w, pool, queries, /*decode=*/false, Scale(c)));
    }
  }
}

TEST_P(AttentionTest, PromptBitsDoNotDependOnItsChunks) {
  CpuContext cpu(GetParam(), 2);
  for (const Case& c : Cases()) {
    Pool pool(c, DType::kBF16, {150});
    const Weights w(c, DType::kBF16);
    const std::vector<float> whole =
        Attend(cpu, c, w, pool, {{0, 0, 150}}, false, Scale(c));
    for (int chunk : {1, 7, 64, 100}) {
      std::vector<float> pieces;
      for (int first = 0; first < 150; first += chunk) {
        const std::vector<float> piece =
            Attend(cpu, c, w, pool, {{0, first, std::min(chunk, 150 - first)}},
                   false, Scale(c));
        pieces.insert(pieces.end(), piece.begin(), piece.end());
      }
      EXPECT_EQ(pieces, whole) << c.name << " in chunks of " << chunk;
    }
  }
}

TEST_P(AttentionTest, GeneratedBitsDoNotDependOnTheBatchOrThreads) {
  for (const Case& c : Cases()) {
    Pool pool(c, DType::kBF16, {40, 300, 700});
    const Weights w(c, DType::kBF16);
    CpuContext one(GetParam(), 1);
    CpuContext three(GetParam(), 3);
    const std::vector<Query> queries = {{0, 39, 1}, {1, 290, 10}, {2, 699, 1}};
    const std::vector<float> together =
        Attend(one, c, w, pool, queries, true, Scale(c));
    EXPECT_EQ(Attend(three, c, w, pool, queries, true, Scale(c)), together);
    std::vector<float> alone;
    for (const Query& query : queries) {
      for (int i = 0; i < query.count; ++i) {
        const std::vector<float> row =
            Attend(one, c, w, pool, {{query.sequence, query.first + i, 1}},
                   true, Scale(c));
        alone.insert(alone.end(), row.begin(), row.end());
      }
    }
    EXPECT_EQ(alone, together) << c.name;
  }
}

TEST_P(AttentionTest, ALongContextIsSplitAndMergedRight) {
  CpuContext cpu(GetParam(), 2);
  const Case c = Cases()[0];
  Pool pool(c, DType::kF32, {5000});
  const Weights w(c, DType::kF32);
  const std::vector<Query> queries = {{0, 4096, 1}, {0, 4999, 1}};
  Check(c, w, pool, queries, Attend(cpu, c, w, pool, queries, true, Scale(c)));
}

}  // namespace
}  // namespace mla::kernels

// A layout with its weights and a paged cache full of rows, and attention over
// it by definition: per head, keys and values built in double from the cached
// rows, softmax, weighted sum; no tiles, splits or absorption.
//
// Tolerance: with u = 2^-24, a score is off by at most ds = u * (dims + 8) *
// max sum |q k| (times log2(e), and through the up-projection's own sum when
// absorbed); a weight then by a factor within e^(+-2 ds) and Exp2's 4u; the
// sum over T tokens adds T u. The output is a weighted mean of values, so its
// error is at most (2 ds + (T + 8) u) * max |v|, for each branch.
//
// Where attention is computed in bf16 (b = 2^-9), a query's elements, and keys
// that are built, are off by factors within 1 +- b, independent of each other:
// a score by at most 4 * 2 b * |q o k|_2, four deviations of both. A weight and
// a value that is built are off by b each.
#ifndef MLA_TESTS_KERNELS_ATTENTION_CASE_H_
#define MLA_TESTS_KERNELS_ATTENTION_CASE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/row_codec.h"
#include "tests/support/random.h"

namespace mla::kernels {

struct Case {
  std::string name;
  AttnLayout layout;
  // W_UK makes `nope` of a key view's first `up_inputs` elements; 0: there is
  // none. W_UV makes `v_dim` of a value view; 0: there is none.
  int nope = 0;
  int up_inputs = 0;
  int v_dim = 0;

  int query_dim() const {
    return layout.key_length() + (nope > 0 ? nope - up_inputs : 0);
  }
  int output_dim() const { return v_dim > 0 ? v_dim : layout.value_length(); }
  bool absorbs() const { return nope > 0 && !layout.rotate_on_read; }
  float scale() const {
    return 1.0f / std::sqrt(static_cast<float>(query_dim()));
  }
  int rows_of(int tokens) const {
    return (tokens + layout.time_stride - 1) / layout.time_stride;
  }
};

// MLA, or a descendant: `nope` and `v_dim` of the latent that a group reads.
inline Case LatentCase(const std::string& name, AttnLayout layout, int nope,
                       int v_dim) {
  const int inputs = layout.key[0].length;
  return {name, std::move(layout), nope, inputs, v_dim};
}

// Any layout that the descriptor can say, within small sizes.
inline Case RandomCase(unsigned seed) {
  std::mt19937 random(seed);
  const auto pick = [&random](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  Case c;
  c.name = "random " + std::to_string(seed);
  AttnLayout& l = c.layout;
  const bool up_keys = pick(0, 1), up_values = pick(0, 1);
  l.rotate_on_read = pick(0, 3) == 0;
  l.groups = pick(1, 5);
  l.branches = up_keys && !l.rotate_on_read && pick(0, 2) == 0 ? pick(2, 3) : 1;
  // Every group is read by someone, by how many is up to chance.
  if (l.branches == 1 && pick(0, 1)) {
    l.first_head = {0};
    for (int g = 0; g < l.groups; ++g) {
      l.first_head.push_back(l.first_head.back() + pick(1, 4));
    }
    l.heads = l.first_head.back();
  } else {
    l.heads = l.groups * pick(1, 4);
  }
  // Slices are taken from the row one after the other, or from anywhere in it.
  int width = 0;
  const auto slice = [&](int length) {
    Slice s{width, 0, length};
    if (pick(0, 1)) s.group_stride = length;
    width += length + (l.groups - 1) * s.group_stride;
    return s;
  };
  l.key[0] = slice(2 * pick(2, 12));
  if (pick(0, 1)) l.key[1] = slice(2 * pick(1, 8));
  l.value[0] = pick(0, 1) ? l.key[0] : slice(pick(1, 20));
  if (pick(0, 2) == 0) l.value[1] = slice(pick(1, 9));
  l.row_width = width + pick(0, 3);
  if (!l.rotate_on_read && pick(0, 3) == 0) l.time_stride = pick(2, 3);
  if (up_keys) {
    c.nope = 2 * pick(2, 10);
    c.up_inputs = pick(0, 1) ? l.key_length() : l.key[0].length;
  }
  if (up_values || l.branches > 1) c.v_dim = pick(1, 19);
  return c;
}

// A pool whose every unused row is NaN, holding sequences of given lengths.
struct Pool {
  Pool(const Case& c, DType dtype, const std::vector<int>& lengths,
       int block_rows = 64)
      : c(c), dtype(dtype), block_rows(block_rows) {
    int blocks = 0;
    for (int length : lengths) blocks += Blocks(length);
    bytes.resize((blocks + 3) * block_bytes());
    // A NaN of every type.
    std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
    std::vector<int32_t> ids(blocks + 3);
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(5));
    for (size_t s = 0; s < lengths.size(); ++s) {
      std::vector<int32_t>& table =
          tables.emplace_back(ids.end() - Blocks(lengths[s]), ids.end());
      ids.resize(ids.size() - table.size());
      const int width = c.layout.row_width;
      const int rows = c.rows_of(lengths[s]);
      const std::vector<float> values =
          testing::RandomFloats(size_t(rows) * width, 100 + s);
      for (int t = 0; t < rows; ++t) {
        Write(&values[size_t(t) * width], View().Row(table.data(), t));
      }
    }
  }

  int Blocks(int length) const {
    return (c.rows_of(length) + block_rows - 1) / block_rows;
  }
  RowFormat format() const { return RowFormatOf(c.layout, dtype); }
  size_t row_bytes() const { return size_t(format().bytes); }
  size_t block_bytes() const { return block_rows * row_bytes(); }
  void Write(const float* src, std::byte* dst) const {
    StoreRow(GetInnerKernels(Isa::kReference), format(), src, dst);
  }
  CacheRows View() {
    return {bytes.data(), block_bytes(), block_rows, format()};
  }
  std::vector<double> Read(const std::byte* p) const {
    const RowFormat f = format();
    const std::byte* rest = p + f.rest_at;
    std::vector<double> row(c.layout.row_width);
    for (int i = 0; i < f.width; ++i) {
      if (i < f.quantised) {
        float scale;
        std::memcpy(&scale, p + f.scales_at + i / kRowScaleElements * 4, 4);
        row[i] = double{scale} * FromF8E4M3(static_cast<uint8_t>(p[i]));
      } else if (dtype == DType::kF32) {
        row[i] = reinterpret_cast<const float*>(rest)[i];
      } else {
        row[i] =
            FromBF16(reinterpret_cast<const bf16_t*>(rest)[i - f.quantised]);
      }
    }
    return row;
  }
  // What a query's newest row was, where rows stand for several tokens.
  std::vector<std::byte> Newest(int sequence, int position) const {
    const std::vector<float> values = testing::RandomFloats(
        c.layout.row_width, 5000 * (sequence + 1) + position);
    std::vector<std::byte> row(row_bytes());
    Write(values.data(), row.data());
    return row;
  }
  // The rows that the query at `position` sees.
  std::vector<std::vector<double>> Seen(int sequence, int position) {
    std::vector<std::vector<double>> rows;
    const int count = position / c.layout.time_stride + 1;
    for (int t = 0; t < count; ++t) {
      rows.push_back(Read(View().Row(tables[sequence].data(), t)));
    }
    if (c.layout.time_stride > 1) {
      rows.back() = Read(Newest(sequence, position).data());
    }
    return rows;
  }

  const Case& c;
  DType dtype;
  int block_rows;
  std::vector<std::byte> bytes;
  std::vector<std::vector<int32_t>> tables;
};

// Up-projections as plain floats and as the kernels take them.
struct Weights {
  Weights(const Case& c, DType dtype) : c(c) {
    const AttnLayout& l = c.layout;
    const int k_count = l.rotate_on_read ? l.groups : l.virtual_heads();
    if (c.nope > 0) {
      k = testing::RandomFloats(size_t(k_count) * c.nope * c.up_inputs, 11,
                                1.0f / std::sqrt(float(c.up_inputs)));
    }
    for (int h = 0; h < k_count && c.nope > 0; ++h) {
      PackedMatrix& to_k = up.k.emplace_back(dtype, c.nope, c.up_inputs);
      for (int i = 0; i < c.nope; ++i) to_k.SetRow(i, K(h, i));
      if (l.rotate_on_read) continue;
      PackedMatrix& absorbed =
          up.k_absorbed.emplace_back(dtype, c.up_inputs, c.nope);
      for (int j = 0; j < c.up_inputs; ++j) {
        std::vector<float> column(c.nope);
        for (int i = 0; i < c.nope; ++i) column[i] = K(h, i)[j];
        absorbed.SetRow(j, column.data());
      }
    }
    if (c.v_dim > 0) {
      v = testing::RandomFloats(
          size_t(l.virtual_heads()) * c.v_dim * l.value_length(), 12,
          1.0f / std::sqrt(float(l.value_length())));
    }
    for (int h = 0; h < l.virtual_heads() && c.v_dim > 0; ++h) {
      PackedMatrix& to_v = up.v.emplace_back(dtype, c.v_dim, l.value_length());
      for (int i = 0; i < c.v_dim; ++i) to_v.SetRow(i, V(h, i));
    }
  }
  const float* K(int matrix, int i) const {
    return &k[(size_t(matrix) * c.nope + i) * c.up_inputs];
  }
  const float* V(int head, int i) const {
    return &v[(size_t(head) * c.v_dim + i) * c.layout.value_length()];
  }

  const Case& c;
  std::vector<float> k, v;
  UpProjection up;
};

struct Query {
  int sequence, first, count;
};

// Angles of positions that are looked up, not computed, so that any will do.
inline std::vector<float> Angles(int positions, int half, bool sine) {
  std::vector<float> table =
      testing::RandomFloats(size_t(positions) * half, 77);
  for (float& a : table) a = sine ? std::sin(9 * a) : std::cos(9 * a);
  return table;
}

// One virtual head's keys and values of all rows that a query sees.
struct HeadRows {
  std::vector<std::vector<double>> keys, values;
  double max_value = 0;
  // How much larger the terms of an up-projection are than their sum: by this
  // much it amplifies rounding.
  double gain = 1;
};

inline std::vector<double> Concatenated(const Slice (&slices)[2], int group,
                                        const std::vector<double>& row) {
  std::vector<double> view;
  for (const Slice& s : slices) {
    const auto first = row.begin() + s.offset + group * s.group_stride;
    view.insert(view.end(), first, first + s.length);
  }
  return view;
}

inline HeadRows BuildHead(const Case& c, const Weights& w,
                          const std::vector<std::vector<double>>& rows,
                          int head) {
  const AttnLayout& l = c.layout;
  const int group = l.GroupOf(head);
  const int half = c.query_dim() / 2;
  std::vector<float> cos, sin;
  if (l.rotate_on_read) {
    cos = Angles(static_cast<int>(rows.size()), half, false);
    sin = Angles(static_cast<int>(rows.size()), half, true);
  }
  HeadRows h;
  for (size_t t = 0; t < rows.size(); ++t) {
    std::vector<double> view = Concatenated(l.key, group, rows[t]);
    std::vector<double> key;
    double absolute = 0, total = 1e-30;
    for (int i = 0; i < c.nope; ++i) {
      const float* weights = w.K(l.rotate_on_read ? group : head, i);
      double sum = 0;
      for (int j = 0; j < c.up_inputs; ++j) {
        sum += weights[j] * view[j];
        absolute += std::abs(weights[j] * view[j]);
      }
      total += std::abs(sum);
      key.push_back(sum);
    }
    if (c.nope > 0) h.gain = std::max(h.gain, absolute / total);
    key.insert(key.end(), view.begin() + (c.nope > 0 ? c.up_inputs : 0),
               view.end());
    for (int i = 0; i < half && l.rotate_on_read; ++i) {
      const double x = key[i], y = key[i + half];
      const double a = cos[t * half + i], b = sin[t * half + i];
      key[i] = x * a - y * b;
      key[i + half] = y * a + x * b;
    }
    std::vector<double> value = Concatenated(l.value, group, rows[t]);
    if (c.v_dim > 0) {
      std::vector<double> projected;
      for (int i = 0; i < c.v_dim; ++i) {
        projected.push_back(
            std::inner_product(value.begin(), value.end(), w.V(head, i), 0.0));
      }
      for (double x : value) h.max_value = std::max(h.max_value, std::abs(x));
      value = projected;
    }
    for (double x : value) h.max_value = std::max(h.max_value, std::abs(x));
    h.keys.push_back(std::move(key));
    h.values.push_back(std::move(value));
  }
  return h;
}

struct Expected {
  std::vector<double> out;
  double bound = 0;
};

// One head's output over its first `tokens` rows, the sum over `branches`.
inline Expected Oracle(const Case& c, const std::vector<HeadRows>& branches,
                       size_t tokens, const float* q, bool bf16) {
  constexpr double u = 0x1.0p-24;
  const double b = bf16 ? 0x1.0p-9 : 0;
  Expected e{std::vector<double>(c.output_dim()), 0};
  for (const HeadRows& h : branches) {
    std::vector<double> p(tokens);
    double magnitude = 0, norm = 0;
    for (size_t t = 0; t < tokens; ++t) {
      double absolute = 0, squares = 0;
      for (size_t i = 0; i < h.keys[t].size(); ++i) {
        p[t] += q[i] * h.keys[t][i] * c.scale();
        absolute += std::abs(q[i] * h.keys[t][i]);
        squares += std::pow(q[i] * h.keys[t][i], 2);
      }
      magnitude = std::max(magnitude, absolute);
      norm = std::max(norm, std::sqrt(squares));
    }
    const double top = *std::max_element(p.begin(), p.end());
    double total = 0;
    for (double& x : p) total += x = std::exp(x - top);
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t i = 0; i < e.out.size(); ++i) {
        e.out[i] += p[t] / total * h.values[t][i];
      }
    }
    const int dims = c.layout.key_length() + c.nope;
    const double ds =
        (u * (dims + 8) * magnitude + 8 * b * norm) * c.scale() * h.gain;
    // The value's own sums, where values are up-projected.
    const double up = c.v_dim > 0 ? u * c.layout.value_length() * 4 : 0;
    e.bound += (2 * ds + (tokens + 8) * u + 2 * b + up * h.gain) * h.max_value;
  }
  return e;
}

inline std::vector<float> QueryRow(const Case& c, int sequence, int position) {
  return testing::RandomFloats(c.layout.heads * c.query_dim(),
                               1000 * (sequence + 1) + position);
}

// Runs queries as one call and returns [rows, heads * output_dim].
inline std::vector<float> Attend(CpuContext& cpu, const Case& c,
                                 const Weights& w, Pool& pool,
                                 const std::vector<Query>& queries,
                                 bool decode) {
  const int q_width = c.layout.heads * c.query_dim();
  const int out_width = c.layout.heads * c.output_dim();
  std::vector<SequenceSpan> spans;
  std::vector<float> q;
  std::vector<std::byte> newest;
  int rows = 0, positions = 0;
  for (const Query& query : queries) {
    spans.push_back(
        {rows, query.count, query.first, pool.tables[query.sequence].data()});
    rows += query.count;
    positions = std::max(positions, query.first + query.count);
    for (int i = 0; i < query.count; ++i) {
      const std::vector<float> row =
          QueryRow(c, query.sequence, query.first + i);
      q.insert(q.end(), row.begin(), row.end());
      const std::vector<std::byte> own =
          pool.Newest(query.sequence, query.first + i);
      newest.insert(newest.end(), own.begin(), own.end());
    }
  }
  std::vector<float> out(size_t(rows) * out_width, NAN);
  const int half = c.query_dim() / 2;
  std::vector<float> cos, sin;
  AttentionOp op{c.layout, c.scale(), &w.up};
  if (c.layout.rotate_on_read) {
    cos = Angles(positions, half, false);
    sin = Angles(positions, half, true);
    op.cos = {cos.data(), positions, half, size_t(half)};
    op.sin = {sin.data(), positions, half, size_t(half)};
  }
  op.newest_rows = newest.data();
  (decode ? AttendDecode : AttendPrefill)(
      cpu, op, pool.View(), spans.data(), static_cast<int>(spans.size()),
      {q.data(), rows, q_width, size_t(q_width)},
      {out.data(), rows, out_width, size_t(out_width)});
  return out;
}

inline std::vector<HeadRows> BuildBranches(
    const Case& c, const Weights& w,
    const std::vector<std::vector<double>>& rows, int head) {
  std::vector<HeadRows> branches;
  for (int b = 0; b < c.layout.branches; ++b) {
    branches.push_back(BuildHead(c, w, rows, b * c.layout.heads + head));
  }
  return branches;
}

// Every row of `out` against the oracle, or those of some `heads`.
inline void Check(const CpuContext& cpu, const Case& c, const Weights& w,
                  Pool& pool, const std::vector<Query>& queries,
                  const std::vector<float>& out, std::vector<int> heads = {}) {
  if (heads.empty()) {
    heads.resize(c.layout.heads);
    std::iota(heads.begin(), heads.end(), 0);
  }
  const int out_width = c.layout.heads * c.output_dim();
  const bool bf16 = cpu.inner().bf16_attention() && pool.dtype == DType::kBF16;
  int first_row = 0;
  for (const Query& query : queries) {
    // What the last query sees, the others see the beginning of; where rows
    // stand for several tokens, each sees its own.
    const int last = query.first + query.count - 1;
    const bool own = c.layout.time_stride > 1;
    for (const int h : heads) {
      std::vector<HeadRows> branches =
          BuildBranches(c, w, pool.Seen(query.sequence, last), h);
      for (int i = 0; i < query.count; ++i) {
        const int position = query.first + i;
        if (own) {
          branches =
              BuildBranches(c, w, pool.Seen(query.sequence, position), h);
        }
        const std::vector<float> q = QueryRow(c, query.sequence, position);
        const Expected e =
            Oracle(c, branches, position / c.layout.time_stride + 1,
                   &q[h * c.query_dim()], bf16);
        const float* row =
            &out[size_t(first_row + i) * out_width + h * c.output_dim()];
        for (size_t j = 0; j < e.out.size(); ++j) {
          ASSERT_NEAR(row[j], e.out[j], e.bound)
              << c.name << " sequence " << query.sequence << " position "
              << position << " head " << h;
        }
      }
    }
    first_row += query.count;
  }
}

}  // namespace mla::kernels

#endif  // MLA_TESTS_KERNELS_ATTENTION_CASE_H_

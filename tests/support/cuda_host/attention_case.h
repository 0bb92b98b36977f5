// A random attention problem, its answer as a naive double loop over bf16
// operands, and how far a kernel may be from it.
//
// With P the exact probabilities, u = 2^-8 what rounding to bf16 (8 bits) may
// change, as a share, and eps = 2^-24 float32's: a score's error is at most
//   d = scale (dk + 2) eps sum |q k|,
// which changes each p / sum by a factor within 1 +- 2 d; rounding P to bf16
// and the exponentials' 2^-20 add u + 2^-20; summing n products adds 2 n eps.
// Each of these is a share of sum p |v|. What is stored as bf16 gets u more of
// itself.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_CASE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_CASE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/attn_layout.h"
#include "kernels/cuda/attention_args.h"
#include "kernels/row_format.h"

namespace cuda_host {

using mla::kernels::AttnLayout;
using mla::kernels::bf16_t;
using mla::kernels::cuda::AttentionSpan;

struct AttentionCase {
  AttnLayout layout;
  mla::kernels::DType type = mla::kernels::DType::kBF16;  // of rows
  int block_rows = 64;
  int top_k = 0;  // queries choose their rows
  double scale = 0.2;

  std::vector<AttentionSpan> spans;
  std::vector<bf16_t> q;  // [rows, virtual heads, padded key length]
  std::vector<unsigned char> cache;
  std::vector<int32_t> block_tables;
  std::vector<unsigned char> newest_rows;
  std::vector<int32_t> selected;
  int rows = 0;

  mla::kernels::RowFormat format() const {
    return mla::kernels::RowFormatOf(layout, type);
  }
  int row_bytes() const { return format().bytes; }
  int q_head_stride() const { return (layout.key_length() + 7) / 8 * 8; }
  int Visible(int position) const {
    const int n = position / layout.time_stride + 1;
    return top_k > 0 ? std::min(n, top_k) : n;
  }

  // Tokens are (rows, first position) of each sequence. Nothing that no query
  // may see is anything but NaN, nor a block that must not be asked for.
  void Fill(const std::vector<std::pair<int, int>>& tokens, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    int blocks = 0;
    for (const auto& [n, first] : tokens) {
      spans.push_back({rows, n, first, 0});
      rows += n;
      blocks += Blocks(first + n);
    }
    std::vector<int32_t> order(blocks + 3);
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    std::shuffle(order.begin(), order.end(), random);
    cache.assign(order.size() * block_rows * row_bytes(), 0xff);
    newest_rows.assign(static_cast<size_t>(rows) * row_bytes(), 0xff);
    selected.assign(static_cast<size_t>(rows) * top_k, 2147480000);
    int next = 0;
    for (AttentionSpan& span : spans) {
      span.block_table = static_cast<int>(block_tables.size());
      const int end = span.first_position + span.num_rows;
      for (int b = 0; b < Blocks(end); ++b) {
        block_tables.push_back(order[next++]);
      }
      for (int i = 0; i < (end - 1) / layout.time_stride + 1; ++i) {
        FillRow(Row(span, i), random, normal);
      }
      block_tables.push_back(2147480000);
      for (int t = 0; t < span.num_rows; ++t) {
        if (layout.time_stride > 1) {
          FillRow(&newest_rows[static_cast<size_t>(span.first_row + t) *
                               row_bytes()],
                  random, normal);
        }
        if (top_k > 0) Select(span, t, random);
      }
    }
    const int heads = layout.virtual_heads();
    q.assign(static_cast<size_t>(rows) * heads * q_head_stride(), 0);
    for (int i = 0; i < rows * heads; ++i) {
      for (int j = 0; j < layout.key_length(); ++j) {
        q[static_cast<size_t>(i) * q_head_stride() + j] =
            mla::kernels::ToBF16(normal(random));
      }
    }
  }

  // Element of the row at `index` that token `t` of the span sees there.
  float Element(const AttentionSpan& span, int t, int index, int at) const {
    const int position = span.first_position + t;
    const size_t step_row = span.first_row + t;
    const unsigned char* row;
    if (layout.time_stride > 1 && index == position / layout.time_stride) {
      row = &newest_rows[step_row * row_bytes()];
    } else {
      row = Row(span, top_k > 0 ? selected[step_row * top_k + index] : index);
    }
    float x;  // kernels compute with bf16
    if (type == mla::kernels::DType::kF32) {
      std::memcpy(&x, row + at * 4, 4);
    } else if (const int codes = format().quantised; at < codes) {
      std::memcpy(&x, row + format().scales_at + at / 128 * 4, 4);
      x *= mla::kernels::FromF8E4M3(row[at]);
    } else {
      bf16_t half;
      std::memcpy(&half, row + format().rest_at + (at - codes) * 2, 2);
      return mla::kernels::FromBF16(half);
    }
    return mla::kernels::FromBF16(mla::kernels::ToBF16(x));
  }

  struct Answer {
    std::vector<double> value, bound;  // [rows, virtual heads, value length]
  };
  Answer Solve(bool stored_as_bf16) const {
    Answer answer;
    for (const AttentionSpan& span : spans) {
      for (int t = 0; t < span.num_rows; ++t) {
        for (int h = 0; h < layout.virtual_heads(); ++h) {
          SolveHead(span, t, h, stored_as_bf16, answer);
        }
      }
    }
    return answer;
  }

 private:
  int Blocks(int tokens) const {
    const int n = (tokens - 1) / layout.time_stride + 1;
    return tokens == 0 ? 0 : (n + block_rows - 1) / block_rows;
  }
  const unsigned char* Row(const AttentionSpan& span, int index) const {
    const size_t block = block_tables[span.block_table + index / block_rows];
    return &cache[(block * block_rows + index % block_rows) * row_bytes()];
  }
  unsigned char* Row(const AttentionSpan& span, int index) {
    return const_cast<unsigned char*>(
        static_cast<const AttentionCase*>(this)->Row(span, index));
  }
  template <class Random>
  void FillRow(unsigned char* row, Random& random,
               std::normal_distribution<float>& normal) {
    const mla::kernels::RowFormat f = format();
    // Any scale, each different.
    for (int j = 0; j < f.quantised; j += 128) {
      const float scale = (1.0f + 0.1f * std::fabs(normal(random))) / 256;
      std::memcpy(row + f.scales_at + j / 128 * 4, &scale, 4);
    }
    for (int j = 0; j < layout.row_width; ++j) {
      const float x = normal(random);
      const bf16_t half = mla::kernels::ToBF16(x);
      if (type == mla::kernels::DType::kF32) {
        std::memcpy(row + j * 4, &x, 4);
      } else if (j < f.quantised) {
        row[j] = mla::kernels::ToF8E4M3(x * 256 / (1 + j / 128));
      } else {
        std::memcpy(row + f.rest_at + (j - f.quantised) * 2, &half, 2);
      }
    }
  }
  template <class Random>
  void Select(const AttentionSpan& span, int t, Random& random) {
    std::vector<int32_t> all(span.first_position + t + 1);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    std::shuffle(all.begin(), all.end(), random);
    all.resize(std::min<size_t>(all.size(), top_k));
    std::sort(all.begin(), all.end());
    std::copy(
        all.begin(), all.end(),
        selected.begin() + static_cast<size_t>(span.first_row + t) * top_k);
  }
  static std::vector<int> Elements(const mla::kernels::Slice (&slices)[2],
                                   int group) {
    std::vector<int> at;
    for (const mla::kernels::Slice& s : slices) {
      for (int i = 0; i < s.length; ++i) {
        at.push_back(s.offset + group * s.group_stride + i);
      }
    }
    return at;
  }

  void SolveHead(const AttentionSpan& span, int t, int head,
                 bool stored_as_bf16, Answer& answer) const {
    const int group = layout.GroupOf(head);
    const std::vector<int> keys = Elements(layout.key, group);
    const std::vector<int> values = Elements(layout.value, group);
    const bf16_t* query =
        &q[(static_cast<size_t>(span.first_row + t) * layout.virtual_heads() +
            head) *
           q_head_stride()];
    const int n = Visible(span.first_position + t);
    std::vector<double> p(n);
    double most = -std::numeric_limits<double>::infinity(), largest = 0;
    for (int i = 0; i < n; ++i) {
      double s = 0, magnitude = 0;
      for (size_t j = 0; j < keys.size(); ++j) {
        const double x = double{mla::kernels::FromBF16(query[j])} *
                         Element(span, t, i, keys[j]);
        s += x;
        magnitude += std::fabs(x);
      }
      p[i] = s * scale;
      most = std::max(most, p[i]);
      largest = std::max(largest, magnitude);
    }
    double sum = 0;
    for (double& x : p) sum += x = std::exp(x - most);
    const double eps = 0x1p-24, u = 0x1p-8;
    const double score =
        scale * (static_cast<double>(keys.size()) + 2) * eps * largest;
    const double share = 2 * score + u + 0x1p-20 + 2 * n * eps;
    for (const int at : values) {
      double o = 0, magnitude = 0;
      for (int i = 0; i < n; ++i) {
        const double v = Element(span, t, i, at);
        o += p[i] / sum * v;
        magnitude += p[i] / sum * std::fabs(v);
      }
      answer.value.push_back(o);
      answer.bound.push_back(share * magnitude +
                             (stored_as_bf16 ? u : 0) * std::fabs(o));
    }
  }
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_CASE_H_

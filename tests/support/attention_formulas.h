// GQA and MLA as their definitions have them, in double loops, and random
// layers to try conversions on.
#ifndef MLA_TESTS_SUPPORT_ATTENTION_FORMULAS_H_
#define MLA_TESTS_SUPPORT_ATTENTION_FORMULAS_H_

#include <cmath>
#include <random>
#include <vector>

#include "runtime/convert/mla_weights.h"
#include "runtime/convert/rope_split.h"

namespace mla::testing {

using runtime::DoubleMatrix;
using runtime::DoubleVector;
using runtime::GqaWeights;
using runtime::MlaShape;
using runtime::MlaWeights;
using runtime::Moments;
using runtime::RopeSplit;

constexpr double kTolerance = 1e-9;  // of outputs of order one, in doubles
constexpr int kTokens = 24;

struct Sizes {
  int heads, kv_heads, head_dim, hidden;
};
constexpr Sizes kGqa = {6, 3, 16, 40};
constexpr Sizes kMqa = {5, 1, 16, 40};

inline DoubleMatrix RandomMatrix(std::mt19937& random, int rows, int cols) {
  std::normal_distribution<double> normal;
  DoubleMatrix m(rows, cols);
  for (double& x : m.reshaped()) x = normal(random) / std::sqrt(cols);
  return m;
}

inline GqaWeights RandomGqa(const Sizes& s, bool biases) {
  std::mt19937 random(3);
  GqaWeights w;
  w.heads = s.heads;
  w.kv_heads = s.kv_heads;
  w.head_dim = s.head_dim;
  const int q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  w.q = RandomMatrix(random, q, s.hidden) * 2;
  w.k = RandomMatrix(random, kv, s.hidden) * 2;
  w.v = RandomMatrix(random, kv, s.hidden);
  w.o = RandomMatrix(random, s.hidden, q);
  const double size = biases ? 1 : 0;
  w.q_bias = size * RandomMatrix(random, q, 1);
  w.k_bias = size * RandomMatrix(random, kv, 1);
  w.v_bias = size * RandomMatrix(random, kv, 1);
  w.o_bias = size * RandomMatrix(random, s.hidden, 1);
  return w;
}

inline std::vector<float> Frequencies(int head_dim) {
  std::vector<float> f;
  for (int i = 0; i < head_dim / 2; ++i) {
    f.push_back(std::pow(100.0f, -2.0f * i / head_dim));
  }
  return f;
}

inline Moments MomentsOf(const DoubleMatrix& y) {
  return {y * y.transpose() / y.cols(), y.rowwise().mean()};
}

// Rotates pairs (i, i + n/2) of x.
template <typename Frequencies>
DoubleVector Rotated(DoubleVector x, const Frequencies& frequencies,
                     int position) {
  const auto n = static_cast<Eigen::Index>(frequencies.size());
  for (Eigen::Index i = 0; i < n; ++i) {
    const double angle = position * static_cast<double>(frequencies[i]);
    const double a = x[i], b = x[n + i];
    x[i] = a * std::cos(angle) - b * std::sin(angle);
    x[n + i] = b * std::cos(angle) + a * std::sin(angle);
  }
  return x;
}

// Causal softmax attention: scores(t, s) for s <= t.
template <typename Score, typename Value>
DoubleVector Attend(int t, const Score& score, const Value& value) {
  std::vector<double> weights;
  double sum = 0;
  for (int s = 0; s <= t; ++s) {
    weights.push_back(std::exp(score(s)));
    sum += weights.back();
  }
  DoubleVector out = DoubleVector::Zero(value(0).size());
  for (int s = 0; s <= t; ++s) out += weights[s] / sum * value(s);
  return out;
}

inline DoubleMatrix GqaOutput(const GqaWeights& w, const std::vector<float>& f,
                              const DoubleMatrix& y) {
  const int d = w.head_dim;
  DoubleMatrix out(w.hidden(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector sum = w.o_bias;
    for (int head = 0; head < w.heads; ++head) {
      const int kv = w.kv_head_of(head) * d;
      const DoubleVector q = Rotated(
          w.q_head(head) * y.col(t) + w.q_bias.segment(head * d, d), f, t);
      sum += w.o_head(head) * Attend(
                                  t,
                                  [&](int s) {
                                    const DoubleVector k = Rotated(
                                        w.k.middleRows(kv, d) * y.col(s) +
                                            w.k_bias.segment(kv, d),
                                        f, s);
                                    return q.dot(k) / std::sqrt(d);
                                  },
                                  [&](int s) -> DoubleVector {
                                    return w.v.middleRows(kv, d) * y.col(s) +
                                           w.v_bias.segment(kv, d);
                                  });
    }
    out.col(t) = sum;
  }
  return out;
}

// DeepSeek-V2 (2405.04434), equations 9 to 19, without norms.
inline DoubleMatrix MlaOutput(const MlaWeights& w, const DoubleMatrix& y) {
  const MlaShape& m = w.shape;
  const int nope = m.qk_nope_head_dim, rope = m.qk_rope_head_dim;
  const int dim = nope + rope, v = m.v_head_dim, rank = m.kv_lora_rank;
  DoubleMatrix rows = w.kv_a * y;
  rows.colwise() += w.kv_a_bias;
  DoubleMatrix out(w.o.rows(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector heads(m.heads * v);
    const DoubleVector read = w.q_a.size() > 0 ? DoubleVector(w.q_a * y.col(t))
                                               : DoubleVector(y.col(t));
    const DoubleVector queries = w.q * read + w.q_bias;
    for (int head = 0; head < m.heads; ++head) {
      const DoubleVector q_nope = queries.segment(head * dim, nope);
      const DoubleVector q_rope =
          Rotated(queries.segment(head * dim + nope, rope), m.inv_freq, t);
      const DoubleMatrix up = w.kv_b.middleRows(head * (nope + v), nope + v);
      heads.segment(head * v, v) = Attend(
          t,
          [&](int s) {
            const DoubleVector latent = rows.col(s).head(rank);
            const DoubleVector k_rope =
                Rotated(rows.col(s).tail(rope), m.inv_freq, s);
            return (q_nope.dot(up.topRows(nope) * latent) +
                    q_rope.dot(k_rope)) /
                   std::sqrt(dim);
          },
          [&](int s) -> DoubleVector {
            return up.bottomRows(v) * rows.col(s).head(rank);
          });
    }
    out.col(t) = w.o * heads + w.o_bias;
  }
  return out;
}

// The split alone: what turns turns, what is left does not, nothing is
// compressed. Biases of still keys are left out, as softmax does.
inline DoubleMatrix PartialRopeOutput(const GqaWeights& w,
                                      const RopeSplit& split,
                                      const DoubleMatrix& y) {
  const int d = w.head_dim;
  DoubleMatrix out(w.hidden(), y.cols());
  for (int t = 0; t < y.cols(); ++t) {
    DoubleVector sum = w.o_bias;
    for (int head = 0; head < w.heads; ++head) {
      const int kv = w.kv_head_of(head) * d;
      const DoubleVector q =
          w.q_head(head) * y.col(t) + w.q_bias.segment(head * d, d);
      const DoubleVector q_rope =
          Rotated(split.q_rope[head] * q, split.inv_freq, t);
      const DoubleVector q_nope = split.q_nope[head] * q;
      sum += w.o_head(head) *
             Attend(
                 t,
                 [&](int s) {
                   const DoubleVector k_rope =
                       Rotated(split.k_rope * y.col(s) + split.k_rope_bias,
                               split.inv_freq, s);
                   return (q_rope.dot(k_rope) +
                           q_nope.dot(split.k_nope * y.col(s))) /
                          std::sqrt(d);
                 },
                 [&](int s) -> DoubleVector {
                   return w.v.middleRows(kv, d) * y.col(s) +
                          w.v_bias.segment(kv, d);
                 });
    }
    out.col(t) = sum;
  }
  return out;
}

inline DoubleMatrix Inputs(int hidden) {
  std::mt19937 random(11);
  return RandomMatrix(random, hidden, kTokens) * std::sqrt(kTokens);
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_ATTENTION_FORMULAS_H_

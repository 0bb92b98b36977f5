// Tested by tests/runtime/one_shot_methods_test.cc.
#include "runtime/convert/per_head_rope.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

// Adds, for every head, its pairs' lengths summed over tokens.
void AddNorms(const DoubleMatrix& w, const DoubleVector& bias,
              const DoubleMatrix& y, DoubleMatrix& sums) {
  DoubleMatrix x = w * y;
  x.colwise() += bias;
  const Eigen::Index half = sums.cols();
  for (Eigen::Index head = 0; head < sums.rows(); ++head) {
    const auto re = x.middleRows(2 * head * half, half).array();
    const auto im = x.middleRows((2 * head + 1) * half, half).array();
    sums.row(head) +=
        (re.square() + im.square()).sqrt().rowwise().sum().matrix().transpose();
  }
}

// In ascending order.
std::vector<int> Chosen(int half, int count, PairChoice choice,
                        const DoubleMatrix& scores, int kv_head) {
  std::vector<int> pairs(half);
  std::iota(pairs.begin(), pairs.end(), 0);
  switch (choice) {
    case PairChoice::kHigh:
      break;
    case PairChoice::kLow:
      std::rotate(pairs.begin(), pairs.end() - count, pairs.end());
      break;
    case PairChoice::kUniform:
      for (int i = 0; i < count; ++i) pairs[i] = i * (half / count);
      break;
    case PairChoice::k2Norm:
      std::stable_sort(pairs.begin(), pairs.end(), [&](int a, int b) {
        return scores(kv_head, a) > scores(kv_head, b);
      });
      break;
  }
  pairs.resize(count);
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

}  // namespace

PairNorms::PairNorms(const GqaWeights& w)
    : queries_(DoubleMatrix::Zero(w.heads, w.head_dim / 2)),
      keys_(DoubleMatrix::Zero(w.kv_heads, w.head_dim / 2)) {}

void PairNorms::Add(const GqaWeights& w, const DoubleMatrix& y) {
  AddNorms(w.q, w.q_bias, y, queries_);
  AddNorms(w.k, w.k_bias, y, keys_);
  tokens_ += static_cast<double>(y.cols());
}

DoubleMatrix PairNorms::Scores(const GqaWeights& w) const {
  DoubleMatrix scores = DoubleMatrix::Zero(keys_.rows(), keys_.cols());
  for (int head = 0; head < w.heads; ++head) {
    const int kv_head = w.kv_head_of(head);
    scores.row(kv_head) += queries_.row(head).cwiseProduct(keys_.row(kv_head)) /
                           (tokens_ * tokens_);
  }
  return scores;
}

absl::StatusOr<RopeSplit> SplitPerHead(const GqaWeights& w,
                                       absl::Span<const float> inv_freq,
                                       int rope_dim, PairChoice choice,
                                       const DoubleMatrix& scores) {
  const int d = w.head_dim;
  const int half = d / 2;
  const int count = rope_dim / (2 * w.kv_heads);  // pairs of each KV head
  if (count < 1 || count >= half || count * 2 * w.kv_heads != rope_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("qk_rope_head_dim ", rope_dim, ": must be a multiple of ",
                     2 * w.kv_heads, " (a pair of each KV head), less than ",
                     w.kv_heads * d));
  }
  const int pairs = count * w.kv_heads;
  RopeSplit split;
  split.k_rope.resize(rope_dim, w.hidden());
  split.k_rope_bias.resize(rope_dim);
  split.k_nope.resize(w.kv_heads * d - rope_dim, w.hidden());
  split.q_rope.assign(w.heads, DoubleMatrix::Zero(rope_dim, d));
  split.q_nope.assign(w.heads, DoubleMatrix::Zero(split.k_nope.rows(), d));
  const int group = w.heads / w.kv_heads;
  int still = 0;
  for (int kv_head = 0; kv_head < w.kv_heads; ++kv_head) {
    const auto meet = [&](std::vector<DoubleMatrix>& queries, int row, int i) {
      for (int h = 0; h < group; ++h) queries[kv_head * group + h](row, i) = 1;
    };
    const std::vector<int> chosen =
        Chosen(half, count, choice, scores, kv_head);
    for (const int pair : chosen) split.inv_freq.push_back(inv_freq[pair]);
    for (int i = 0; i < d; ++i) {
      const int from = kv_head * d + i;
      const auto found =
          std::lower_bound(chosen.begin(), chosen.end(), i % half);
      if (found == chosen.end() || *found != i % half) {
        meet(split.q_nope, still, i);
        split.k_nope.row(still++) = w.k.row(from);
        continue;
      }
      const int at = kv_head * count +
                     static_cast<int>(found - chosen.begin()) +
                     (i < half ? 0 : pairs);
      meet(split.q_rope, at, i);
      split.k_rope.row(at) = w.k.row(from);
      split.k_rope_bias[at] = w.k_bias[from];
    }
  }
  return split;
}

}  // namespace mla::runtime

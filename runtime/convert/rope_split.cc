// Tested by tests/runtime/convert_test.cc.
#include "runtime/convert/rope_split.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using std::complex;

// New complex keys and queries, as combinations of a group's old ones, which
// are ordered by KV head and then by frequency.
struct Component {
  int first = 0;  // the group's frequencies
  int count = 0;
  Eigen::VectorXcd key;
  Eigen::VectorXcd query;
  double energy = 0;    // of the scores it makes, or of the keys
  DoubleVector share;   // of its old frequencies in it, [count]
  double inv_freq = 0;  // if it turns
};

// Row of old complex number `c` of a group: its real part's; the imaginary
// part's is head_dim/2 further.
int RowOf(const GqaWeights& w, int first, int count, int c) {
  return c / count * w.head_dim + first + c % count;
}

// E[q q'] of every query head.
std::vector<DoubleMatrix> QueryMoments(const GqaWeights& w, const Moments& y) {
  std::vector<DoubleMatrix> moments;
  for (int head = 0; head < w.heads; ++head) {
    moments.push_back(MomentOf(
        w.q_head(head), w.q_bias.segment(head * w.head_dim, w.head_dim), y));
  }
  return moments;
}

// The components of one group, strongest first.
absl::StatusOr<std::vector<Component>> Mix(
    const GqaWeights& w, const Moments& y,
    const std::vector<DoubleMatrix>& queries, int first, int count,
    Mixing mixing) {
  const int n = w.kv_heads * count;
  const int half = w.head_dim / 2;
  DoubleMatrix re(n, w.hidden()), im(n, w.hidden());
  DoubleVector re_bias(n), im_bias(n);
  for (int c = 0; c < n; ++c) {
    const int row = RowOf(w, first, count, c);
    re.row(c) = w.k.row(row);
    im.row(c) = w.k.row(row + half);
    re_bias[c] = w.k_bias[row];
    im_bias[c] = w.k_bias[row + half];
  }
  const DoubleMatrix power =
      MomentOf(re, re_bias, y) + MomentOf(im, im_bias, y);

  ComplexMatrix vectors;  // in columns
  DoubleVector values;
  ComplexMatrix key, query;  // in columns too, to be conjugated
  if (mixing == Mixing::kComplex) {
    // E[z z^H] of z = re + i im.
    DoubleMatrix both(2 * n, w.hidden());
    both << re, im;
    DoubleVector both_bias(2 * n);
    both_bias << re_bias, im_bias;
    const DoubleMatrix m = MomentOf(both, both_bias, y);
    const DoubleMatrix twist = m.bottomLeftCorner(n, n);
    ComplexMatrix hermitian(n, n);
    hermitian.real() = power;
    hermitian.imag() = twist - twist.transpose();
    ASSIGN_OR_RETURN(Spectrum<ComplexMatrix> e, EigenOf(std::move(hermitian)));
    vectors = e.vectors;
    values = e.values;
    key = query = vectors;
  } else {
    SquareRoots roots{DoubleMatrix::Identity(n, n),
                      DoubleMatrix::Identity(n, n)};
    if (mixing == Mixing::kWeighted) {
      DoubleMatrix scores = DoubleMatrix::Zero(n, n);
      for (int head = 0; head < w.heads; ++head) {
        const int at = w.kv_head_of(head) * count;
        scores.block(at, at, count, count) +=
            queries[head].block(first, first, count, count) +
            queries[head].block(half + first, half + first, count, count);
      }
      ASSIGN_OR_RETURN(roots, RootsOf(scores, 1e-2));
    }
    ASSIGN_OR_RETURN(Spectrum<DoubleMatrix> e,
                     EigenOf(DoubleMatrix(roots.root * power * roots.root)));
    vectors = e.vectors.cast<complex<double>>();
    values = e.values;
    key = (roots.root * e.vectors).cast<complex<double>>();
    query = (roots.inverse * e.vectors).cast<complex<double>>();
  }

  std::vector<Component> components;
  for (int t = 0; t < n; ++t) {
    Component component;
    component.first = first;
    component.count = count;
    component.key = key.col(t).conjugate();
    component.query = query.col(t).conjugate();
    component.energy = values[t];
    component.share = DoubleVector::Zero(count);
    for (int c = 0; c < n; ++c) {
      component.share[c % count] += std::norm(vectors(c, t));
    }
    components.push_back(std::move(component));
  }
  return components;
}

// Old row `row` of a head enters the new pair (re, im) with the factor (a, b):
// (a + i b)(x + i y) = (a x - b y) + i (b x + a y).
template <typename Add>
void ForEachTerm(const Component& component, const Eigen::VectorXcd& factors,
                 const Add& add) {
  for (int c = 0; c < factors.size(); ++c) {
    const int frequency = component.first + c % component.count;
    add(c / component.count, frequency, factors[c].real(), factors[c].imag());
  }
}

RopeSplit Assemble(const GqaWeights& w, const std::vector<Component>& turning,
                   const std::vector<Component>& still) {
  const int d = w.head_dim;
  const int half = d / 2;
  const int pairs = static_cast<int>(turning.size());
  RopeSplit split;
  split.k_rope = DoubleMatrix::Zero(2 * pairs, w.hidden());
  split.k_rope_bias = DoubleVector::Zero(2 * pairs);
  split.k_nope = DoubleMatrix::Zero(2 * still.size(), w.hidden());
  split.q_rope.assign(w.heads, DoubleMatrix::Zero(2 * pairs, d));
  split.q_nope.assign(w.heads, DoubleMatrix::Zero(2 * still.size(), d));
  const auto place = [&](const Component& component, int re, int im,
                         DoubleMatrix& k, DoubleVector* bias,
                         std::vector<DoubleMatrix>& q) {
    ForEachTerm(component, component.key,
                [&](int kv_head, int frequency, double a, double b) {
                  const int x = kv_head * d + frequency;
                  const int y = x + half;
                  k.row(re) += a * w.k.row(x) - b * w.k.row(y);
                  k.row(im) += b * w.k.row(x) + a * w.k.row(y);
                  if (bias == nullptr) return;
                  (*bias)[re] += a * w.k_bias[x] - b * w.k_bias[y];
                  (*bias)[im] += b * w.k_bias[x] + a * w.k_bias[y];
                });
    ForEachTerm(component, component.query,
                [&](int kv_head, int frequency, double a, double b) {
                  for (int head = 0; head < w.heads; ++head) {
                    if (w.kv_head_of(head) != kv_head) continue;
                    q[head](re, frequency) += a;
                    q[head](re, half + frequency) -= b;
                    q[head](im, frequency) += b;
                    q[head](im, half + frequency) += a;
                  }
                });
  };
  for (int i = 0; i < pairs; ++i) {
    place(turning[i], i, pairs + i, split.k_rope, &split.k_rope_bias,
          split.q_rope);
    split.inv_freq.push_back(turning[i].inv_freq);
  }
  // A key's bias without RoPE adds the same to all of a query's scores, which
  // softmax does not see.
  for (size_t i = 0; i < still.size(); ++i) {
    place(still[i], 2 * i, 2 * i + 1, split.k_nope, nullptr, split.q_nope);
  }
  return split;
}

// E over distances of |1 - e^(i theta distance)|^2, where each octave of them
// up to `farthest` is as likely: attention is mostly near, and must not go
// astray where it is far.
class Turning {
 public:
  explicit Turning(int farthest) {
    for (double distance = 1; distance < farthest; distance *= kStep) {
      distances_.push_back(distance);
    }
  }
  double operator()(double theta) const {
    double sum = 0;
    for (const double distance : distances_) {
      sum += 2 - 2 * std::cos(distance * theta);
    }
    return sum / static_cast<double>(distances_.size());
  }

 private:
  static constexpr double kStep = 1.05;
  std::vector<double> distances_;
};

}  // namespace

DoubleMatrix MomentOf(const DoubleMatrix& w, const DoubleVector& bias,
                      const Moments& y) {
  DoubleMatrix moment = w * y.second * w.transpose();
  if (bias.isZero(0)) return moment;
  const DoubleMatrix cross = (w * y.mean) * bias.transpose();
  return moment + cross + cross.transpose() + bias * bias.transpose();
}

absl::StatusOr<RopeSplit> SplitByLadder(const GqaWeights& w, const Moments& y,
                                        absl::Span<const float> inv_freq,
                                        int rope_dim, int fold, Mixing mixing) {
  const int half = w.head_dim / 2;
  const int collapse = rope_dim > 0 ? w.head_dim / rope_dim : 0;
  if (rope_dim < 2 || collapse * rope_dim != w.head_dim || fold < 1 ||
      fold % collapse != 0 || half % fold != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "qk_rope_head_dim ", rope_dim, " and freqfold ", fold,
        " do not fit heads of ", w.head_dim,
        ": the first must divide them, the second half of them, and their "
        "product must be a multiple of head_dim"));
  }
  const std::vector<DoubleMatrix> queries = QueryMoments(w, y);
  std::vector<Component> turning, still;
  for (int first = 0; first < half; first += fold) {
    ASSIGN_OR_RETURN(std::vector<Component> components,
                     Mix(w, y, queries, first, fold, mixing));
    for (int t = 0; t < static_cast<int>(components.size()); ++t) {
      if (t < fold / collapse) {
        components[t].inv_freq = inv_freq[first + t * collapse];
        turning.push_back(std::move(components[t]));
      } else {
        still.push_back(std::move(components[t]));
      }
    }
  }
  return Assemble(w, turning, still);
}

absl::StatusOr<RopeSplit> SplitBySelection(
    const GqaWeights& w, const Moments& y, absl::Span<const float> inv_freq,
    int rope_dim, absl::Span<const int> groups, int farthest) {
  const int half = w.head_dim / 2;
  if (rope_dim < 2 || rope_dim % 2 != 0 ||
      rope_dim > w.kv_heads * w.head_dim - 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "qk_rope_head_dim ", rope_dim, ": must be even, from 2 to ",
        w.kv_heads * w.head_dim - 2));
  }
  if (std::accumulate(groups.begin(), groups.end(), 0) != half) {
    return absl::InternalError("groups of frequencies do not cover a head");
  }
  const std::vector<DoubleMatrix> queries = QueryMoments(w, y);
  const Turning turned(farthest);
  std::vector<std::pair<double, Component>> ranked;  // by gain
  int first = 0;
  for (const int count : groups) {
    ASSIGN_OR_RETURN(std::vector<Component> components,
                     Mix(w, y, queries, first, count, Mixing::kWeighted));
    for (Component& component : components) {
      // What is lost if it stands still, and if it turns with `theta`.
      double mean = 0, lost = 0;
      for (int f = 0; f < count; ++f) {
        mean += component.share[f] * inv_freq[first + f];
        lost += component.share[f] * turned(inv_freq[first + f]);
      }
      double least = lost;
      for (int candidate = 0; candidate <= count; ++candidate) {
        const double theta =
            candidate < count ? inv_freq[first + candidate] : mean;
        double off = 0;
        for (int f = 0; f < count; ++f) {
          off += component.share[f] * turned(inv_freq[first + f] - theta);
        }
        if (candidate > 0 && off >= least) continue;
        least = off;
        component.inv_freq = theta;
      }
      const double gain = component.energy * (lost - least);
      ranked.emplace_back(gain, std::move(component));
    }
    first += count;
  }
  std::stable_sort(
      ranked.begin(), ranked.end(),
      [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<Component> turning, still;
  for (auto& [gain, component] : ranked) {
    const bool turns = static_cast<int>(turning.size()) < rope_dim / 2;
    (turns ? turning : still).push_back(std::move(component));
  }
  std::stable_sort(turning.begin(), turning.end(),
                   [](const Component& a, const Component& b) {
                     return a.inv_freq > b.inv_freq;
                   });
  return Assemble(w, turning, still);
}

}  // namespace mla::runtime

// Tested by tests/runtime/fewer_heads_test.cc.
#include "runtime/convert/fit_heads.h"

#include <algorithm>
#include <complex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/convert/head_groups.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

// [rows | bias]
DoubleMatrix WithBias(const DoubleMatrix& rows, const DoubleVector& bias) {
  DoubleMatrix all(rows.rows(), rows.cols() + 1);
  all << rows, bias;
  return all;
}

absl::Status CheckSize(const char* name, int size, int most) {
  if (size >= 1 && size <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " ", size, ": must be from 1 to ", most));
}

// Query heads ordered by the group of the KV head that they read.
std::vector<int> OrderOf(const GqaWeights& w, const HeadGroups& groups) {
  std::vector<int> order(w.heads);
  for (int i = 0; i < w.heads; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return groups[w.kv_head_of(a)] < groups[w.kv_head_of(b)];
  });
  return order;
}

// Queries and output in the groups' order; keys and values of zeros.
HeadWeights Regrouped(const GqaWeights& w, const HeadGroups& groups) {
  const int d = w.head_dim;
  HeadWeights out;
  HeadShape& shape = out.shape;
  shape.heads = w.heads;
  shape.kv_heads = 1 + *std::max_element(groups.begin(), groups.end());
  shape.head_dim = d;
  out.q.resize(w.q.rows(), w.q.cols());
  out.q_bias.resize(w.q_bias.size());
  out.o.resize(w.o.rows(), w.o.cols());
  int to = 0;
  bool even = w.heads % shape.kv_heads == 0;
  for (const int head : OrderOf(w, groups)) {
    const int group = groups[w.kv_head_of(head)];
    even = even && group == to / (w.heads / shape.kv_heads);
    shape.kv_head_of.push_back(group);
    out.q.middleRows(to * d, d) = w.q_head(head);
    out.q_bias.segment(to * d, d) = w.q_bias.segment(head * d, d);
    out.o.middleCols(to * d, d) = w.o_head(head);
    ++to;
  }
  if (even) shape.kv_head_of.clear();
  out.k = DoubleMatrix::Zero(shape.kv_heads * d, w.hidden());
  out.v = out.k;
  out.k_bias = DoubleVector::Zero(shape.kv_heads * d);
  out.v_bias = out.k_bias;
  out.o_bias = w.o_bias;
  return out;
}

absl::StatusOr<HeadFit> Qcqa(const GqaWeights& w, int kv_heads) {
  RETURN_IF_ERROR(CheckSize("kv_heads", kv_heads, w.kv_heads));
  const int d = w.head_dim;
  const DoubleMatrix gram = GramOfHeads(w);
  const HeadGroups groups = GroupHeads(gram, kv_heads);
  HeadFit fit{Regrouped(w, groups),
              1 - SharingError(gram, groups) / gram.trace()};
  for (int head = 0; head < w.kv_heads; ++head) {
    const int group = groups[head];
    const auto share =
        static_cast<double>(std::count(groups.begin(), groups.end(), group));
    const auto add = [&](const auto& from, auto& to) {
      to.middleRows(group * d, d) += from.middleRows(head * d, d) / share;
    };
    add(w.k, fit.weights.k);
    add(w.v, fit.weights.v);
    add(w.k_bias, fit.weights.k_bias);
    add(w.v_bias, fit.weights.v_bias);
  }
  return fit;
}

// One head made of `count` neighbouring ones.
class CommonHead {
 public:
  CommonHead(const GqaWeights& w, const Moments& y, int first, int count)
      : w_(w), y_(y), first_(first), count_(count), d_(w.head_dim) {}

  absl::Status Fit(int group, HeadWeights& out) {
    RETURN_IF_ERROR(Values(group, out));
    return Keys(group, out);
  }
  double kept() const { return kept_; }
  double all() const { return all_; }

 private:
  absl::Status Values(int group, HeadWeights& out) {
    const DoubleMatrix v = w_.v.middleRows(first_ * d_, count_ * d_);
    const DoubleVector bias = w_.v_bias.segment(first_ * d_, count_ * d_);
    ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                     EigenOf(MomentOf(v, bias, y_)));
    const DoubleMatrix top = e.vectors.leftCols(d_);
    out.v.middleRows(group * d_, d_) = top.transpose() * v;
    out.v_bias.segment(group * d_, d_) = top.transpose() * bias;
    const int share = w_.heads / w_.kv_heads;
    for (int i = 0; i < count_; ++i) {
      for (int head = (first_ + i) * share; head < (first_ + i + 1) * share;
           ++head) {
        out.o.middleCols(head * d_, d_) =
            w_.o_head(head) * top.middleRows(i * d_, d_);
      }
    }
    kept_ += e.values.head(d_).sum();
    all_ += e.values.sum();
    return absl::OkStatus();
  }

  absl::Status Keys(int group, HeadWeights& out) {
    const DoubleMatrix moment =
        MomentOf(w_.k.middleRows(first_ * d_, count_ * d_),
                 w_.k_bias.segment(first_ * d_, count_ * d_), y_);
    const int half = d_ / 2;
    for (int f = 0; f < half; ++f) {
      ComplexMatrix c(count_, count_);  // E[z z*] of the heads' pairs
      for (int i = 0; i < count_; ++i) {
        for (int j = 0; j < count_; ++j) {
          const int re_i = i * d_ + f, re_j = j * d_ + f;
          const int im_i = re_i + half, im_j = re_j + half;
          c(i, j) = {moment(re_i, re_j) + moment(im_i, im_j),
                     moment(im_i, re_j) - moment(re_i, im_j)};
        }
      }
      ASSIGN_OR_RETURN(const Spectrum<ComplexMatrix> e, EigenOf(std::move(c)));
      for (int i = 0; i < count_; ++i) Turn(group, i, f, e.vectors(i, 0), out);
      kept_ += e.values[0];
      all_ += e.values.sum();
    }
    return absl::OkStatus();
  }

  // Key z of head i becomes part of its group's, conj(u) z; queries of it turn
  // by conj(u) too.
  void Turn(int group, int i, int f, std::complex<double> u, HeadWeights& out) {
    const int half = d_ / 2;
    const double a = u.real(), b = -u.imag();
    const auto add = [&](const auto& from, int row, auto& to, int into) {
      const auto re = from.row(row).eval(), im = from.row(row + half).eval();
      to.row(into) += a * re - b * im;
      to.row(into + half) += a * im + b * re;
    };
    const int key = (first_ + i) * d_ + f;
    add(w_.k, key, out.k, group * d_ + f);
    add(w_.k_bias, key, out.k_bias, group * d_ + f);
    const int share = w_.heads / w_.kv_heads;
    for (int h = 0; h < share; ++h) {
      const int query = ((first_ + i) * share + h) * d_ + f;
      for (const int row : {query, query + half}) {
        out.q.row(row).setZero();
        out.q_bias.row(row).setZero();
      }
      add(w_.q, query, out.q, query);
      add(w_.q_bias, query, out.q_bias, query);
    }
  }

  const GqaWeights& w_;
  const Moments& y_;
  const int first_, count_, d_;
  double kept_ = 0, all_ = 0;
};

absl::StatusOr<HeadFit> EffKv(const GqaWeights& w, const Moments& y,
                              int kv_heads) {
  RETURN_IF_ERROR(CheckSize("kv_heads", kv_heads, w.kv_heads));
  if (w.kv_heads % kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kv_heads ", kv_heads, ": does not divide the model's ", w.kv_heads));
  }
  const int share = w.kv_heads / kv_heads;
  HeadGroups groups(w.kv_heads);
  for (int head = 0; head < w.kv_heads; ++head) groups[head] = head / share;
  HeadFit fit{Regrouped(w, groups)};
  double all = 0;
  for (int group = 0; group < kv_heads; ++group) {
    CommonHead common(w, y, group * share, share);
    RETURN_IF_ERROR(common.Fit(group, fit.weights));
    fit.energy_kept += common.kept();
    all += common.all();
  }
  fit.energy_kept /= all;
  return fit;
}

struct Factors {
  DoubleMatrix down, up;
  DoubleVector down_bias;
  double kept = 0, all = 0;
};

absl::StatusOr<Factors> Truncate(const DoubleMatrix& w,
                                 const DoubleVector& bias, int rank) {
  const DoubleMatrix all = WithBias(w, bias);
  ASSIGN_OR_RETURN(const Spectrum<DoubleMatrix> e,
                   EigenOf(DoubleMatrix(all * all.transpose())));
  Factors f;
  f.up = e.vectors.leftCols(rank);
  f.down = f.up.transpose() * w;
  f.down_bias = f.up.transpose() * bias;
  f.kept = e.values.head(rank).sum();
  f.all = e.values.sum();
  return f;
}

absl::StatusOr<HeadFit> Lorc(const GqaWeights& w, int elements) {
  const int width = w.kv_heads * w.head_dim;
  RETURN_IF_ERROR(CheckSize("kv_lora_rank", elements - 1, 2 * width - 1));
  ASSIGN_OR_RETURN(Factors k, Truncate(w.k, w.k_bias, elements / 2));
  ASSIGN_OR_RETURN(Factors v, Truncate(w.v, w.v_bias, elements - elements / 2));
  HeadFit fit;
  fit.energy_kept = (k.kept / k.all + v.kept / v.all) / 2;
  HeadWeights& out = fit.weights;
  out.shape.heads = w.heads;
  out.shape.kv_heads = w.kv_heads;
  out.shape.head_dim = w.head_dim;
  out.shape.k_rank = elements / 2;
  out.shape.v_rank = elements - elements / 2;
  out.q = w.q;
  out.k = std::move(k.down);
  out.v = std::move(v.down);
  out.k_up = std::move(k.up);
  out.v_up = std::move(v.up);
  out.o = w.o;
  out.q_bias = w.q_bias;
  out.k_bias = std::move(k.down_bias);
  out.v_bias = std::move(v.down_bias);
  out.o_bias = w.o_bias;
  return fit;
}

}  // namespace

DoubleMatrix GramOfHeads(const GqaWeights& w) {
  const DoubleMatrix k = WithBias(w.k, w.k_bias);
  const DoubleMatrix v = WithBias(w.v, w.v_bias);
  const int d = w.head_dim;
  DoubleMatrix gram(w.kv_heads, w.kv_heads);
  for (int i = 0; i < w.kv_heads; ++i) {
    for (int j = 0; j < w.kv_heads; ++j) {
      gram(i, j) = 0;
      for (const DoubleMatrix* m : {&k, &v}) {
        gram(i, j) +=
            m->middleRows(i * d, d).cwiseProduct(m->middleRows(j * d, d)).sum();
      }
    }
  }
  return gram;
}

absl::StatusOr<HeadFit> FitHeads(const GqaWeights& w, const Moments& y,
                                 ConversionMethod method, int size) {
  if (method == ConversionMethod::kQcqa) return Qcqa(w, size);
  if (method == ConversionMethod::kEffKv) return EffKv(w, y, size);
  return Lorc(w, size);
}

}  // namespace mla::runtime

// Which experts a row is sent to, in double precision from the definition
// (kernels/cpu/moe.h), and how far float32 may be from it.
#ifndef MLA_TESTS_SUPPORT_ROUTE_ANSWER_H_
#define MLA_TESTS_SUPPORT_ROUTE_ANSWER_H_

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/router_args.h"

namespace mla::testing {

inline constexpr double kHalfUlp = 0x1.0p-24;  // of a float32 rounding

struct Router {
  int experts;
  kernels::RouterArgs args;
  std::vector<float> correction = {};
};

// What a row should get, and how far float32 may be from it.
struct Number {
  double value, error;
};
struct Answer {
  std::vector<int> experts;
  std::vector<Number> weights;
  bool is_sure = true;  // no choice hangs on rounding
};

// Scores with their errors, in units of a half ulp, relative: an expf within
// two ulps is 4; a sigmoid adds a sum and a quotient. A softmax's argument was
// rounded, |x - top| of it; its total is of terms of that accuracy, added 32
// at a time, then five times; twice that for the quotient of both.
inline std::vector<Number> Scores(const Router& router, const float* x) {
  std::vector<Number> scores;
  const float top = *std::max_element(x, x + router.experts);
  const float least = *std::min_element(x, x + router.experts);
  double total = 0;
  for (int e = 0; e < router.experts; ++e)
    total += std::exp(double{x[e]} - top);
  for (int e = 0; e < router.experts; ++e) {
    if (router.args.scoring == kernels::RouterArgs::Scoring::kSigmoid) {
      const double score = 1 / (1 + std::exp(-double{x[e]}));
      scores.push_back({score, 7 * kHalfUlp * score});
    } else {
      const double score = std::exp(double{x[e]} - top) / total;
      const double steps = 4 + double{top} - least + router.experts / 32.0 + 6;
      scores.push_back({score, 2 * steps * kHalfUlp * score});
    }
  }
  return scores;
}

// The indices of the n largest, best first; clears `is_sure` if rounding might
// decide otherwise, also about their order if that matters.
inline std::vector<int> Largest(const std::vector<Number>& of, int n,
                                bool in_order, bool* is_sure) {
  std::vector<int> order(of.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return of[a].value > of[b].value; });
  for (int i = in_order ? 0 : n - 1; i < n; ++i) {
    if (i + 1 == static_cast<int>(order.size())) break;
    const Number &a = of[order[i]], &b = of[order[i + 1]];
    if (a.value - b.value <= a.error + b.error) *is_sure = false;
  }
  order.resize(n);
  return order;
}

inline Answer Solve(const Router& router, const float* x) {
  const kernels::RouterArgs& args = router.args;
  Answer answer;
  const std::vector<Number> scores = Scores(router, x);
  std::vector<Number> choice = scores;
  for (size_t e = 0; e < router.correction.size(); ++e) {
    choice[e].value += router.correction[e];
    choice[e].error += kHalfUlp * std::fabs(choice[e].value);
  }
  if (args.top_groups < args.groups) {
    const int size = router.experts / args.groups;
    std::vector<Number> groups;
    for (int g = 0; g < args.groups; ++g) {
      std::vector<Number> of(choice.begin() + g * size,
                             choice.begin() + (g + 1) * size);
      bool any_order = true;  // a sum does not hang on who made it
      Number sum = {0, 0};
      const int best = std::min(args.group_best, size);
      for (const int e : Largest(of, best, false, &any_order)) {
        sum.value += of[e].value;
        sum.error += of[e].error + best * kHalfUlp * std::fabs(of[e].value);
      }
      groups.push_back(sum);
    }
    const std::vector<int> kept =
        Largest(groups, args.top_groups, false, &answer.is_sure);
    for (int g = 0; g < args.groups; ++g) {
      if (std::count(kept.begin(), kept.end(), g) > 0) continue;
      for (int i = 0; i < size; ++i) choice[g * size + i] = {-1e9, 0};
    }
  }
  answer.experts = Largest(choice, args.top_k, true, &answer.is_sure);
  Number total = {0, 0};
  for (const int e : answer.experts) {
    total.value += scores[e].value;
    total.error += scores[e].error;
  }
  total.error += (args.top_k + 1) * kHalfUlp * total.value;
  for (const int e : answer.experts) {
    const double scale =
        args.normalize ? args.scale / total.value : double{args.scale};
    const double weight = scores[e].value * scale;
    double relative = scores[e].error / scores[e].value + 3 * kHalfUlp;
    if (args.normalize) relative += total.error / total.value;
    answer.weights.push_back({weight, weight * relative * 1.01});
  }
  return answer;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_ROUTE_ANSWER_H_

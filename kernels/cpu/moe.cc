// Tested by tests/kernels/moe_test.cc.
#include "kernels/cpu/moe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/linear.h"

namespace mla::kernels {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

// NaN has no place in an order; such a row is lost, the process is not.
void ExcludeNaN(float* values, int n) {
  std::replace_if(
      values, values + n, [](float v) { return std::isnan(v); }, kExcluded);
}

void Score(RouterArgs::Scoring scoring, const float* logits, int n,
           float* scores) {
  if (scoring == RouterArgs::Scoring::kSigmoid) {
    for (int e = 0; e < n; ++e) scores[e] = 1 / (1 + std::exp(-logits[e]));
    return;
  }
  const float top = *std::max_element(logits, logits + n);
  float total = 0;
  for (int e = 0; e < n; ++e) total += scores[e] = std::exp(logits[e] - top);
  for (int e = 0; e < n; ++e) scores[e] /= total;
}

// The n largest of `values`, best first, ties to the lower index.
void Largest(const float* values, int size, int n,
             std::vector<int32_t>& order) {
  order.resize(size);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + n, order.end(),
                    [values](int32_t a, int32_t b) {
                      return values[a] != values[b] ? values[a] > values[b]
                                                    : a < b;
                    });
  order.resize(n);
}

// Excludes the experts of all groups but the best.
void KeepBestGroups(const RouterArgs& args, std::vector<float>& choice) {
  const int size = static_cast<int>(choice.size()) / args.groups;
  std::vector<int32_t> order;
  std::vector<float> group_scores(args.groups, 0.0f);
  for (int g = 0; g < args.groups; ++g) {
    const float* group = &choice[g * size];
    Largest(group, size, std::min(args.group_best, size), order);
    for (const int32_t e : order) group_scores[g] += group[e];
  }
  ExcludeNaN(group_scores.data(), args.groups);
  Largest(group_scores.data(), args.groups, args.top_groups, order);
  for (int g = 0; g < args.groups; ++g) {
    if (std::find(order.begin(), order.end(), g) == order.end()) {
      std::fill_n(&choice[g * size], size, kExcluded);
    }
  }
}

// Chosen (token, slot) pairs, sorted by expert.
struct Assignment {
  std::vector<int> first;     // [experts + 1]: an expert's rows among `sorted`
  std::vector<int> position;  // [tokens * top_k]: where a pair was sorted to,
                              // or -1: nothing is to be computed for it
};

Assignment SortByExpert(const int32_t* ids, int pairs, int experts) {
  Assignment a{std::vector<int>(experts + 1), std::vector<int>(pairs, -1)};
  for (int i = 0; i < pairs; ++i) {
    if (ids[i] < experts) ++a.first[ids[i] + 1];
  }
  std::partial_sum(a.first.begin(), a.first.end(), a.first.begin());
  std::vector<int> next(a.first.begin(), a.first.end() - 1);
  for (int i = 0; i < pairs; ++i) {
    if (ids[i] < experts) a.position[i] = next[ids[i]]++;
  }
  return a;
}

std::vector<LinearGroup> Groups(const Assignment& a,
                                const std::vector<const PackedMatrix*>& w) {
  std::vector<LinearGroup> groups;
  for (size_t e = 0; e < w.size(); ++e) {
    const int rows = a.first[e + 1] - a.first[e];
    if (rows > 0) groups.push_back({a.first[e], rows, w[e]});
  }
  return groups;
}

}  // namespace

void Route(const RouterArgs& args, Rows logits, int32_t* ids, float* weights) {
  const int experts = logits.cols;
  std::vector<float> scores(experts), choice;
  std::vector<int32_t> order;
  for (int row = 0; row < logits.rows; ++row) {
    float* x = logits[row];
    ExcludeNaN(x, experts);
    Score(args.scoring, x, experts, scores.data());
    choice = scores;
    if (args.correction != nullptr) {
      for (int e = 0; e < experts; ++e) choice[e] += args.correction[e];
    }
    ExcludeNaN(choice.data(), experts);
    if (args.top_groups < args.groups) KeepBestGroups(args, choice);
    Largest(choice.data(), experts, args.top_k, order);
    float total = 1e-20f;  // as transformers has it
    for (const int32_t e : order) total += scores[e];
    const float scale = args.normalize ? args.scale / total : args.scale;
    for (int i = 0; i < args.top_k; ++i) {
      ids[row * args.top_k + i] = order[i];
      weights[row * args.top_k + i] = scores[order[i]] * scale;
    }
  }
}

void RunExperts(CpuContext& cpu, Rows x,
                const std::vector<const PackedMatrix*>& gate_up,
                const std::vector<const PackedMatrix*>& down, int top_k,
                const int32_t* ids, const float* weights, bool add_identities,
                Rows y) {
  const int pairs = x.rows * top_k;
  const int hidden = x.cols;
  const int intermediate = down[0]->k();
  const Assignment a =
      SortByExpert(ids, pairs, static_cast<int>(gate_up.size()));

  // Taken from the caller's thread's scratch: GroupedLinear uses the op's.
  Scratch& scratch = cpu.ThreadScratch(0);
  scratch.Reset();
  const int computed = a.first.back();
  const auto take = [&](int cols) {
    return Rows{scratch.Take<float>(size_t(computed) * cols), computed, cols,
                size_t(cols)};
  };
  const Rows sorted = take(hidden);
  const Rows projected = take(2 * intermediate);
  const Rows activated = take(intermediate);
  cpu.pool().Run(pairs, [&](int i, int) {
    if (a.position[i] < 0) return;
    std::copy_n(x[i / top_k], hidden, sorted[a.position[i]]);
  });
  GroupedLinear(cpu, sorted, Groups(a, gate_up), projected);
  SiluMul(cpu, projected, activated);
  GroupedLinear(cpu, activated, Groups(a, down), sorted);
  cpu.pool().Run(x.rows, [&](int row, int) {
    std::fill_n(y[row], hidden, 0.0f);
    for (int i = row * top_k; i < (row + 1) * top_k; ++i) {
      if (a.position[i] < 0 && !add_identities) continue;
      const float* result = a.position[i] < 0 ? x[row] : sorted[a.position[i]];
      cpu.inner().add_scaled(result, weights[i], hidden, y[row]);
    }
  });
}

}  // namespace mla::kernels

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

// Chosen (token, slot) pairs, sorted by expert.
struct Assignment {
  std::vector<int> first;     // [experts + 1]: an expert's rows among `sorted`
  std::vector<int> position;  // [tokens * top_k]: where a pair was sorted to
};

Assignment SortByExpert(const int32_t* ids, int pairs, int experts) {
  Assignment a{std::vector<int>(experts + 1), std::vector<int>(pairs)};
  for (int i = 0; i < pairs; ++i) ++a.first[ids[i] + 1];
  std::partial_sum(a.first.begin(), a.first.end(), a.first.begin());
  std::vector<int> next(a.first.begin(), a.first.end() - 1);
  for (int i = 0; i < pairs; ++i) a.position[i] = next[ids[i]]++;
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

void RouteSoftmax(const RouterArgs& args, Rows logits, int32_t* ids,
                  float* weights) {
  const int experts = logits.cols;
  std::vector<int32_t> order(experts);
  for (int row = 0; row < logits.rows; ++row) {
    float* x = logits[row];
    // NaN has no place in an order; such a row is lost, the process is not.
    std::replace_if(
        x, x + experts, [](float v) { return std::isnan(v); },
        -std::numeric_limits<float>::infinity());
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + args.top_k, order.end(),
                      [x](int32_t a, int32_t b) {
                        return x[a] != x[b] ? x[a] > x[b] : a < b;
                      });
    const float top = x[order[0]];
    float total = 0;  // of all experts, or of the chosen ones
    if (args.normalize) {
      for (int i = 0; i < args.top_k; ++i) total += std::exp(x[order[i]] - top);
    } else {
      for (int e = 0; e < experts; ++e) total += std::exp(x[e] - top);
    }
    for (int i = 0; i < args.top_k; ++i) {
      ids[row * args.top_k + i] = order[i];
      weights[row * args.top_k + i] =
          std::exp(x[order[i]] - top) / total * args.scale;
    }
  }
}

void RunExperts(CpuContext& cpu, Rows x,
                const std::vector<const PackedMatrix*>& gate_up,
                const std::vector<const PackedMatrix*>& down, int top_k,
                const int32_t* ids, const float* weights, Rows y) {
  const int pairs = x.rows * top_k;
  const int hidden = x.cols;
  const int intermediate = down[0]->k();
  const Assignment a =
      SortByExpert(ids, pairs, static_cast<int>(gate_up.size()));

  // Taken from the caller's thread's scratch: GroupedLinear uses the op's.
  Scratch& scratch = cpu.ThreadScratch(0);
  scratch.Reset();
  const auto take = [&](int cols) {
    return Rows{scratch.Take<float>(size_t(pairs) * cols), pairs, cols,
                size_t(cols)};
  };
  const Rows sorted = take(hidden);
  const Rows projected = take(2 * intermediate);
  const Rows activated = take(intermediate);
  cpu.pool().Run(pairs, [&](int i, int) {
    std::copy_n(x[i / top_k], hidden, sorted[a.position[i]]);
  });
  GroupedLinear(cpu, sorted, Groups(a, gate_up), projected);
  SiluMul(cpu, projected, activated);
  GroupedLinear(cpu, activated, Groups(a, down), sorted);
  cpu.pool().Run(x.rows, [&](int row, int) {
    std::fill_n(y[row], hidden, 0.0f);
    for (int i = row * top_k; i < (row + 1) * top_k; ++i) {
      cpu.inner().add_scaled(sorted[a.position[i]], weights[i], hidden, y[row]);
    }
  });
}

}  // namespace mla::kernels

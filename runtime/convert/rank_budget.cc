// Tested by tests/runtime/rank_budget_test.cc.
#include "runtime/convert/rank_budget.h"

#include <algorithm>
#include <cstdint>

namespace mla::runtime {
namespace {

constexpr int kStep = 4;  // elements given at once

// Share of all energy that a latent of each size loses: [components + 1].
DoubleVector Tails(const DoubleVector& spectrum) {
  DoubleVector tails(spectrum.size() + 1);
  double sum = 0;
  tails[spectrum.size()] = 0;
  for (Eigen::Index i = spectrum.size() - 1; i >= 0; --i) {
    sum += std::max(spectrum[i], 0.0);
    tails[i] = sum;
  }
  return sum > 0 ? DoubleVector(tails / sum) : tails;
}

}  // namespace

std::vector<int> AllocateRanks(absl::Span<const LayerWorth> layers,
                               int mean_rank) {
  std::vector<DoubleVector> tails;
  for (const LayerWorth& layer : layers) tails.push_back(Tails(layer.spectrum));
  const int low = std::max(1, mean_rank / 4);
  std::vector<int> ranks(layers.size(), low);
  int64_t left = static_cast<int64_t>(mean_rank - low) *
                 static_cast<int64_t>(layers.size());
  while (left >= kStep) {
    int best = -1;
    double most = 0;
    for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
      if (ranks[i] + kStep >= tails[i].size()) continue;
      const double kept =
          layers[i].share * (tails[i][ranks[i]] - tails[i][ranks[i] + kStep]);
      if (best >= 0 && kept <= most) continue;
      best = i;
      most = kept;
    }
    if (best < 0) break;
    ranks[best] += kStep;
    left -= kStep;
  }
  return ranks;
}

}  // namespace mla::runtime

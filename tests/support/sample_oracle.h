// Which tokens a draw may give, by the words of kernels/sample_args.h: in
// double, over sorted lists.
//
// Bounds: with e = 2^-24, what an exponential is taken of has been rounded
// twice and is 30 at most, and the exponential is good to a few ulps, so each
// likelihood is off by 80 e of itself, and so is every sum of them. Where a
// decision is closer than that, both outcomes are allowed.
#ifndef MLA_TESTS_SUPPORT_SAMPLE_ORACLE_H_
#define MLA_TESTS_SUPPORT_SAMPLE_ORACLE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "kernels/sample_args.h"

namespace mla::testing {

struct SampleOracle {
  std::set<int32_t> allowed;  // empty: none is drawn
  double log_total = 0;       // of the logits as they came
  std::vector<int32_t> top;   // ids, likeliest first, of those
  std::vector<float> clean;   // those, without NaN
};

// `newest`: a token that is counted once more; -1: none.
inline SampleOracle OracleOf(const kernels::Draw& draw,
                             const std::vector<kernels::LogitChange>& changes,
                             int32_t newest, std::vector<float> logits) {
  constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
  constexpr double kError = 80 * 0x1p-24;
  SampleOracle oracle;
  const auto clean = [&](float& x) {
    if (std::isnan(x)) x = kMinusInf;
  };
  for (float& x : logits) clean(x);
  oracle.clean = logits;
  const int vocab = static_cast<int>(logits.size());
  std::vector<int32_t> ids(vocab);
  std::iota(ids.begin(), ids.end(), 0);
  const auto sort = [&] {
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    });
  };
  sort();
  oracle.top = ids;
  double total = 0;
  for (const float x : logits) total += std::exp(double{x} - logits[ids[0]]);
  oracle.log_total = logits[ids[0]] + std::log(total);

  std::vector<kernels::LogitChange> all = changes;
  const auto known = std::find_if(
      all.begin(), all.end(), [&](const auto& c) { return c.id == newest; });
  if (newest >= 0 && known == all.end()) {
    all.push_back({newest, 0.0f, 1});
  } else if (newest >= 0) {
    known->count = std::max(known->count, 0) + 1;
  }
  for (const kernels::LogitChange& c : all) {
    float& x = logits[c.id];
    x += c.bias;
    if (c.count >= 0) {
      x = x > 0 ? x / draw.repetition_penalty : x * draw.repetition_penalty;
    }
    if (c.count > 0) {
      const float n = static_cast<float>(c.count) * draw.frequency_penalty;
      x -= draw.presence_penalty + n;
    }
    clean(x);
  }
  sort();
  const double best = logits[ids[0]];
  if (!std::isfinite(best)) return oracle;
  if (draw.temperature == 0) {
    oracle.allowed = {ids[0]};
    return oracle;
  }

  // How many of the sorted ids are kept: at least, and at most.
  const double t = draw.temperature;
  std::vector<double> p;
  int least = 0, most = 0;
  for (const int32_t id : ids) {
    const double nats = (logits[id] - best) / t;
    const double least_nats =
        draw.min_p > 0 ? std::max(-30.0, std::log(double{draw.min_p})) : -30.0;
    const double slack = 8 * 0x1p-24 * (std::fabs(best) / t + 30);
    p.push_back(std::exp(nats));
    if (nats >= least_nats + slack) ++least;
    if (nats >= least_nats - slack) ++most;
  }
  least = std::max(least, 1);
  if (draw.top_k > 0) {
    least = std::min(least, draw.top_k);
    most = std::min(most, draw.top_k);
  }
  const double number = static_cast<double>(draw.random >> 11) * 0x1p-53;
  std::set<int> sizes;
  for (int kept = least; kept <= most; ++kept) {
    if (draw.top_p >= 1.0f) {
      sizes.insert(kept);
      continue;
    }
    const double all_of_it = std::accumulate(p.begin(), p.begin() + kept, 0.0);
    double sum = 0;
    for (int n = 1; n <= kept; ++n) {
      const double before = sum;
      sum += p[n - 1];
      const double wanted = draw.top_p * all_of_it, slack = kError * all_of_it;
      const bool may_reach = sum >= wanted - slack;
      const bool may_need = n == 1 || before < wanted + slack;
      if ((may_reach || n == kept) && may_need) sizes.insert(n);
    }
  }
  for (const int size : sizes) {
    std::vector<int32_t> kept(ids.begin(), ids.begin() + size);
    std::sort(kept.begin(), kept.end());
    double sum = 0, all_of_it = 0;
    for (const int32_t id : kept) {
      all_of_it += std::exp((logits[id] - best) / t);
    }
    for (const int32_t id : kept) {
      const double before = sum / all_of_it;
      sum += std::exp((logits[id] - best) / t);
      if (number >= before - 2 * kError &&
          number < sum / all_of_it + 2 * kError) {
        oracle.allowed.insert(id);
      }
    }
  }
  return oracle;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_SAMPLE_ORACLE_H_

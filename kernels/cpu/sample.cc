// Tested by tests/runtime/sampler_test.cc.
#include "kernels/cpu/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace mla::kernels {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

struct Candidate {
  int32_t id;
  float logit;  // less the likeliest token's, after temperature
  double p;     // e^logit, 0 until it is wanted
};

// Likelier first; equals by id, so that the order is total.
bool Likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Report(const Draw& draw, const float* logits, int vocab, Drawn& drawn) {
  const float top = *std::max_element(logits, logits + vocab);
  double total = 0;
  for (int id = 0; id < vocab; ++id)
    total += std::exp(double{logits[id]} - top);
  const double log_total = top + std::log(total);
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[id] - log_total);
  };

  std::vector<int32_t> ids(vocab);
  std::iota(ids.begin(), ids.end(), 0);
  drawn.num_top = std::min({draw.logprobs, vocab, kMaxTopLogprobs});
  std::partial_sort(ids.begin(), ids.begin() + drawn.num_top, ids.end(),
                    [&](int32_t a, int32_t b) {
                      return logits[a] != logits[b] ? logits[a] > logits[b]
                                                    : a < b;
                    });
  drawn.logprob = logprob(drawn.id);
  for (int i = 0; i < drawn.num_top; ++i) {
    drawn.top_ids[i] = ids[i];
    drawn.top_logprobs[i] = logprob(ids[i]);
  }
}

void Change(const Draw& draw, const LogitChange& change, float& x) {
  x += change.bias;
  if (change.count != LogitChange::kUnseen) {
    x = x > 0 ? x / draw.repetition_penalty : x * draw.repetition_penalty;
  }
  if (change.count > 0) {
    x -= draw.presence_penalty + draw.frequency_penalty * change.count;
  }
  if (std::isnan(x)) x = kMinusInf;
}

int32_t DrawFromDistribution(const Draw& draw, const float* logits, int vocab,
                             float top) {
  // A token e^-30 times as likely as the best cannot change a sum in float
  // even if the whole vocabulary were such tokens: 2^20 e^-30 < 2^-22.
  constexpr float kNegligible = 30.0f;
  const float scale = 1.0f / draw.temperature;
  const float floor =
      std::max(top - kNegligible * draw.temperature,
               draw.min_p > 0 ? top + draw.temperature * std::log(draw.min_p)
                              : kMinusInf);
  std::vector<Candidate> candidates;
  for (int id = 0; id < vocab; ++id) {
    if (logits[id] >= floor) {
      candidates.push_back({id, (logits[id] - top) * scale, 0});
    }
  }
  const auto by_id = [](const Candidate& a, const Candidate& b) {
    return a.id < b.id;
  };
  if (draw.top_k > 0 && candidates.size() > static_cast<size_t>(draw.top_k)) {
    std::nth_element(candidates.begin(), candidates.begin() + draw.top_k,
                     candidates.end(), Likelier);
    candidates.resize(draw.top_k);
    std::sort(candidates.begin(), candidates.end(), by_id);
  }
  double total = 0;
  for (Candidate& c : candidates) {
    total += c.p = std::exp(double{c.logit});
  }
  if (draw.top_p < 1.0f) {
    std::sort(candidates.begin(), candidates.end(), Likelier);
    double kept = 0;
    size_t count = 0;
    while (count < candidates.size() &&
           (count == 0 || kept < draw.top_p * total)) {
      kept += candidates[count++].p;
    }
    candidates.resize(count);
    std::sort(candidates.begin(), candidates.end(), by_id);
    total = kept;
  }
  const double number = static_cast<double>(draw.random >> 11) * 0x1.0p-53;
  double target = number * total;
  for (const Candidate& c : candidates) {
    target -= c.p;
    if (target < 0) return c.id;
  }
  return candidates.back().id;
}

}  // namespace

Drawn Sample(const Draw& draw, const LogitChange* changes, float* logits,
             int vocab) {
  for (int id = 0; id < vocab; ++id) {
    if (std::isnan(logits[id])) logits[id] = kMinusInf;
  }
  std::vector<float> unchanged;
  if (draw.logprobs >= 0) unchanged.assign(logits, logits + vocab);
  for (int i = 0; i < draw.num_changes; ++i) {
    Change(draw, changes[i], logits[changes[i].id]);
  }
  Drawn drawn;
  const float* best = std::max_element(logits, logits + vocab);
  if (!std::isfinite(*best)) return drawn;
  drawn.id = draw.temperature == 0.0f
                 ? static_cast<int32_t>(best - logits)
                 : DrawFromDistribution(draw, logits, vocab, *best);
  if (draw.logprobs >= 0) Report(draw, unchanged.data(), vocab, drawn);
  return drawn;
}

}  // namespace mla::kernels

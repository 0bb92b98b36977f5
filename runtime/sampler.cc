// Tested by tests/runtime/sampler_test.cc.
#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace mla::runtime {
namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();

// SplitMix64 (Steele et al., OOPSLA 14): a counter turned into random bits.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

double Uniform(uint64_t bits) {  // [0, 1)
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

struct Candidate {
  int32_t id;
  float logit;  // less the likeliest token's, after temperature
  double p;     // e^logit, 0 until it is wanted
};

// Likelier first; equals by id, so that the order is total.
bool Likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

int32_t ArgMax(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) -
                              logits.begin());
}

TokenLogprobs Logprobs(absl::Span<const float> logits, int32_t drawn,
                       int alternatives) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (float x : logits) total += std::exp(double{x} - top);
  const double log_total = top + std::log(total);
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[id] - log_total);
  };

  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const size_t count = std::min<size_t>(alternatives, ids.size());
  std::partial_sort(
      ids.begin(), ids.begin() + count, ids.end(), [&](int32_t a, int32_t b) {
        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
      });
  TokenLogprobs result;
  result.logprob = logprob(drawn);
  for (size_t i = 0; i < count; ++i) {
    result.top.emplace_back(ids[i], logprob(ids[i]));
  }
  return result;
}

}  // namespace

Sampler::Sampler(const SamplingParams& params, uint64_t seed, int index,
                 absl::Span<const int32_t> prompt, int min_tokens,
                 std::vector<int32_t> masked)
    : params_(params),
      stream_(Mix(seed) ^ Mix(~static_cast<uint64_t>(index))),
      min_tokens_(min_tokens),
      masked_(std::move(masked)) {
  if (params_.repetition_penalty != 1.0f) {
    for (int32_t id : prompt) counts_.try_emplace(id, 0);
  }
}

void Sampler::Penalize(absl::Span<float> logits) const {
  for (const auto& [id, bias] : params_.logit_bias) logits[id] += bias;
  for (const auto& [id, count] : counts_) {
    float& x = logits[id];
    x = x > 0 ? x / params_.repetition_penalty : x * params_.repetition_penalty;
    if (count > 0) {
      x -= params_.presence_penalty + params_.frequency_penalty * count;
    }
  }
  if (drawn_ < min_tokens_) {
    for (int32_t id : masked_) logits[id] = kMinusInf;
  }
}

absl::StatusOr<Sampler::Token> Sampler::Draw(absl::Span<float> logits) {
  for (float& x : logits) {
    if (std::isnan(x)) x = kMinusInf;
  }
  std::vector<float> unchanged;
  if (params_.logprobs) unchanged.assign(logits.begin(), logits.end());
  Penalize(logits);
  const int32_t best = ArgMax(logits);
  if (!std::isfinite(logits[best])) {
    return absl::InternalError("the model's logits are not finite");
  }
  Token token;
  token.id = params_.temperature == 0.0f
                 ? best
                 : DrawFromDistribution(logits, logits[best]);
  if (params_.logprobs) {
    token.logprobs = Logprobs(unchanged, token.id, *params_.logprobs);
  }
  ++counts_[token.id];
  ++drawn_;
  return token;
}

int32_t Sampler::DrawFromDistribution(absl::Span<const float> logits,
                                      float top) const {
  // A token e^-30 times as likely as the best cannot change a sum in float
  // even if the whole vocabulary were such tokens: 2^20 e^-30 < 2^-22.
  constexpr float kNegligible = 30.0f;
  const float scale = 1.0f / params_.temperature;
  const float floor = std::max(
      top - kNegligible * params_.temperature,
      params_.min_p > 0 ? top + params_.temperature * std::log(params_.min_p)
                        : kMinusInf);
  std::vector<Candidate> candidates;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] >= floor) {
      candidates.push_back(
          {static_cast<int32_t>(id), (logits[id] - top) * scale, 0});
    }
  }
  if (params_.top_k > 0 &&
      candidates.size() > static_cast<size_t>(params_.top_k)) {
    std::nth_element(candidates.begin(), candidates.begin() + params_.top_k,
                     candidates.end(), Likelier);
    candidates.resize(params_.top_k);
  }
  double total = 0;
  for (Candidate& c : candidates) {
    total += c.p = std::exp(double{c.logit});
  }
  if (params_.top_p < 1.0f) {
    // The fewest likeliest tokens that hold top_p of the probability.
    std::sort(candidates.begin(), candidates.end(), Likelier);
    double kept = 0;
    size_t count = 0;
    while (count < candidates.size() &&
           (count == 0 || kept < params_.top_p * total)) {
      kept += candidates[count++].p;
    }
    candidates.resize(count);
    total = kept;
  }
  double target = Uniform(Mix(stream_ + drawn_)) * total;
  for (const Candidate& c : candidates) {
    target -= c.p;
    if (target < 0) return c.id;
  }
  return candidates.back().id;
}

}  // namespace mla::runtime

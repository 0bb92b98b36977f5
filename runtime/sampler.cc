// Tested by tests/runtime/sampler_test.cc.
#include "runtime/sampler.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace mla::runtime {
namespace {

using kernels::Draw;
using kernels::LogitChange;

// SplitMix64 (Steele et al., OOPSLA 14): a counter turned into random bits.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::vector<int32_t> Unique(std::vector<int32_t> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace

Sampler::Sampler(const SamplingParams& params, uint64_t seed, int index,
                 absl::Span<const int32_t> prompt, int min_tokens,
                 std::vector<int32_t> masked)
    : params_(params),
      stream_(Mix(seed) ^ Mix(~static_cast<uint64_t>(index))),
      min_tokens_(min_tokens),
      masked_(Unique(std::move(masked))) {
  for (const auto& [id, bias] : params_.logit_bias) ChangeOf(id).bias += bias;
  if (params_.repetition_penalty != 1.0f) {
    for (int32_t id : prompt) ChangeOf(id).count = 0;
  }
}

bool Sampler::penalizes() const {
  return params_.repetition_penalty != 1.0f ||
         params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f;
}

LogitChange& Sampler::ChangeOf(int32_t id) {
  const auto [place, is_new] = places_.try_emplace(id, changes_.size());
  if (is_new) changes_.push_back({id, 0.0f, LogitChange::kUnseen});
  return changes_[place->second];
}

Draw Sampler::Next(std::vector<LogitChange>& changes) {
  const size_t first = changes.size();
  changes.insert(changes.end(), changes_.begin(), changes_.end());
  if (drawn_ < min_tokens_) {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    for (int32_t id : masked_) {
      if (const auto place = places_.find(id); place != places_.end()) {
        changes[first + place->second].bias = kNever;
      } else {
        changes.push_back({id, kNever, LogitChange::kUnseen});
      }
    }
  }
  Draw draw;
  draw.random = Mix(stream_ + drawn_++);
  draw.temperature = params_.temperature;
  draw.top_k = params_.top_k;
  draw.top_p = params_.top_p;
  draw.min_p = params_.min_p;
  draw.repetition_penalty = params_.repetition_penalty;
  draw.presence_penalty = params_.presence_penalty;
  draw.frequency_penalty = params_.frequency_penalty;
  draw.first_change = static_cast<int32_t>(first);
  draw.num_changes = static_cast<int32_t>(changes.size() - first);
  draw.logprobs = params_.logprobs.value_or(-1);
  return draw;
}

void Sampler::Note(int32_t id) {
  if (!penalizes()) return;
  int32_t& count = ChangeOf(id).count;
  count = std::max(count, 0) + 1;
}

}  // namespace mla::runtime

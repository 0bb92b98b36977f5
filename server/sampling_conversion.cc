// Tested by tests/server/request_conversion_test.cc.
#include "server/sampling_conversion.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/limits.h"

namespace mla::server {
namespace {

constexpr int64_t kMaxInt = std::numeric_limits<int>::max();

// Bounds of a real number; `open_min` leaves `min` itself out.
struct Range {
  float min;
  float max;
  bool open_min = false;

  bool Holds(float value) const {  // false for NaN
    return (open_min ? value > min : value >= min) && value <= max;
  }
  std::string Text() const {
    return absl::StrCat(open_min ? "(" : "[", min, ", ", max, "]");
  }
};

class Checker {
 public:
  explicit Checker(FieldViolations& violations) : violations_(violations) {}

  void Real(const char* field, float value, Range range, float& out) {
    if (range.Holds(value)) {
      out = value;
    } else {
      violations_.Add(
          field, absl::StrCat("must be in ", range.Text(), ", not ", value));
    }
  }

  void Integer(const char* field, int64_t value, int64_t min, int64_t max,
               int& out) {
    if (value >= min && value <= max) {
      out = static_cast<int>(value);
    } else {
      violations_.Add(field, absl::StrCat("must be in [", min, ", ", max,
                                          "], not ", value));
    }
  }

  // True when `size` entries are allowed.
  bool Count(const char* field, size_t size, int max) {
    if (size <= static_cast<size_t>(max)) return true;
    violations_.Add(field,
                    absl::StrCat("has ", size, " entries, more than ", max));
    return false;
  }

  bool TokenId(std::string field, uint32_t id, int vocab_size) {
    if (id < static_cast<uint32_t>(vocab_size)) return true;
    violations_.Add(std::move(field), absl::StrCat("must be a token id below ",
                                                   vocab_size, ", not ", id));
    return false;
  }

 private:
  FieldViolations& violations_;
};

void ConvertLogitBias(const serving::v1::SamplingParams& in, int vocab_size,
                      runtime::SamplingParams& out, Checker& check) {
  constexpr char kField[] = "sampling.logit_bias";
  if (!check.Count(kField, in.logit_bias().size(), kMaxLogitBias)) return;
  for (const auto& [id, bias] : in.logit_bias()) {
    const std::string field = absl::StrCat(kField, "[", id, "]");
    float checked = 0;
    check.Real(field.c_str(), bias, {-kMaxLogitBiasValue, kMaxLogitBiasValue},
               checked);
    if (check.TokenId(field, id, vocab_size)) {
      out.logit_bias.emplace_back(static_cast<int32_t>(id), checked);
    }
  }
  // A map has no order of its own; equal requests must stay equal.
  std::sort(out.logit_bias.begin(), out.logit_bias.end());
}

void ConvertStopStrings(const serving::v1::StopConditions& in,
                        runtime::StopConditions& out, Checker& check,
                        FieldViolations& violations) {
  if (!check.Count("stop.stop", in.stop_size(), kMaxStopStrings)) return;
  for (int i = 0; i < in.stop_size(); ++i) {
    const std::string& stop = in.stop(i);
    if (stop.empty() || stop.size() > kMaxStopStringBytes) {
      violations.Add(absl::StrCat("stop.stop[", i, "]"),
                     absl::StrCat("must have 1 to ", kMaxStopStringBytes,
                                  " bytes, not ", stop.size()));
    } else {
      out.stop.push_back(stop);
    }
  }
}

}  // namespace

void ConvertSampling(const serving::v1::SamplingParams& in, int vocab_size,
                     runtime::SamplingParams& out,
                     FieldViolations& violations) {
  Checker check(violations);
  if (in.has_temperature()) {
    check.Real("sampling.temperature", in.temperature(), {0, kMaxTemperature},
               out.temperature);
  }
  if (in.has_top_k()) {
    check.Integer("sampling.top_k", in.top_k(), 0, kMaxInt, out.top_k);
  }
  if (in.has_top_p()) {
    check.Real("sampling.top_p", in.top_p(), {0, 1, /*open_min=*/true},
               out.top_p);
  }
  if (in.has_min_p()) {
    check.Real("sampling.min_p", in.min_p(), {0, 1}, out.min_p);
  }
  if (in.has_repetition_penalty()) {
    check.Real("sampling.repetition_penalty", in.repetition_penalty(),
               {kMinRepetitionPenalty, kMaxRepetitionPenalty},
               out.repetition_penalty);
  }
  if (in.has_presence_penalty()) {
    check.Real("sampling.presence_penalty", in.presence_penalty(),
               {-kMaxPenalty, kMaxPenalty}, out.presence_penalty);
  }
  if (in.has_frequency_penalty()) {
    check.Real("sampling.frequency_penalty", in.frequency_penalty(),
               {-kMaxPenalty, kMaxPenalty}, out.frequency_penalty);
  }
  if (in.has_seed()) out.seed = in.seed();
  if (in.has_n()) {
    check.Integer("sampling.n", in.n(), 1, kMaxChoices, out.n);
  }
  ConvertLogitBias(in, vocab_size, out, check);
}

void ConvertStop(const serving::v1::StopConditions& in, int vocab_size,
                 runtime::StopConditions& out, FieldViolations& violations) {
  Checker check(violations);
  out.max_tokens = 0;
  if (in.has_max_tokens()) {
    check.Integer("stop.max_tokens", in.max_tokens(), 1, kMaxInt,
                  out.max_tokens);
  }
  if (in.has_min_tokens()) {
    check.Integer("stop.min_tokens", in.min_tokens(), 0,
                  in.has_max_tokens() ? int64_t{in.max_tokens()} : kMaxInt,
                  out.min_tokens);
  }
  ConvertStopStrings(in, out, check, violations);
  constexpr char kIds[] = "stop.stop_token_ids";
  if (check.Count(kIds, in.stop_token_ids_size(), kMaxStopTokenIds)) {
    for (int i = 0; i < in.stop_token_ids_size(); ++i) {
      if (check.TokenId(absl::StrCat(kIds, "[", i, "]"), in.stop_token_ids(i),
                        vocab_size)) {
        out.stop_token_ids.push_back(
            static_cast<int32_t>(in.stop_token_ids(i)));
      }
    }
  }
  if (in.has_ignore_eos()) out.ignore_eos = in.ignore_eos();
}

void ConvertOutput(const serving::v1::OutputOptions& in, runtime::Request& out,
                   FieldViolations& violations) {
  Checker check(violations);
  if (in.has_logprobs()) {
    int logprobs = 0;
    check.Integer("output.logprobs", in.logprobs(), 0, kMaxLogprobs, logprobs);
    out.sampling.logprobs = logprobs;
  }
  if (in.has_skip_special_tokens()) {
    out.skip_special_tokens = in.skip_special_tokens();
  }
}

}  // namespace mla::server

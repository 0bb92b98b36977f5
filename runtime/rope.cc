// Tested by tests/runtime/rope_test.cc.
#include "runtime/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "runtime/json_fields.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::StatusOr<double> Positive(const json& scaling, const char* field,
                                double fallback) {
  ASSIGN_OR_RETURN(const double value, ReadNumber(scaling, field, fallback));
  if (!(value > 0) || !std::isfinite(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("config field 'rope_scaling.", field,
                     "': must be positive, is ", value));
  }
  return value;
}

absl::StatusOr<Rope> Linear(Rope rope, const json& scaling) {
  ASSIGN_OR_RETURN(const double factor, Positive(scaling, "factor", 1.0));
  for (float& f : rope.inv_freq) f = static_cast<float>(f / factor);
  return rope;
}

// Long wavelengths are divided by `factor`, short ones kept, those between
// interpolated.
absl::StatusOr<Rope> Llama3(Rope rope, const json& scaling) {
  ASSIGN_OR_RETURN(const double factor, Positive(scaling, "factor", 8.0));
  ASSIGN_OR_RETURN(const double low, Positive(scaling, "low_freq_factor", 1.0));
  ASSIGN_OR_RETURN(const double high,
                   Positive(scaling, "high_freq_factor", 4.0));
  ASSIGN_OR_RETURN(const double original,
                   Positive(scaling, "original_max_position_embeddings", 8192));
  if (high <= low) {
    return absl::InvalidArgumentError(
        "config field 'rope_scaling.high_freq_factor': must exceed "
        "low_freq_factor");
  }
  for (float& f : rope.inv_freq) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength > original / low) {
      f = static_cast<float>(f / factor);
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      f = static_cast<float>((1 - smooth) * f / factor + smooth * f);
    }
  }
  return rope;
}

double Mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The pair whose wavelength makes `rotations` turns in `original` tokens.
double CorrectionDim(double rotations, int dim, double theta, double original) {
  return dim * std::log(original / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

absl::StatusOr<Rope> Yarn(Rope rope, double theta, int max_position,
                          const json& scaling) {
  ASSIGN_OR_RETURN(
      const double original,
      Positive(scaling, "original_max_position_embeddings", max_position));
  ASSIGN_OR_RETURN(const double factor,
                   Positive(scaling, "factor", max_position / original));
  ASSIGN_OR_RETURN(const double beta_fast, Positive(scaling, "beta_fast", 32));
  ASSIGN_OR_RETURN(const double beta_slow, Positive(scaling, "beta_slow", 1));
  ASSIGN_OR_RETURN(const bool truncate, ReadBool(scaling, "truncate", true));
  ASSIGN_OR_RETURN(const double mscale, ReadNumber(scaling, "mscale", 0));
  ASSIGN_OR_RETURN(const double mscale_all_dim,
                   ReadNumber(scaling, "mscale_all_dim", 0));
  ASSIGN_OR_RETURN(const double attention_factor,
                   ReadNumber(scaling, "attention_factor", 0));

  double low = CorrectionDim(beta_fast, rope.dim, theta, original);
  double high = CorrectionDim(beta_slow, rope.dim, theta, original);
  if (truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rope.dim - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
    const double f = rope.inv_freq[i];
    rope.inv_freq[i] = static_cast<float>(f / factor * ramp + f * (1 - ramp));
  }
  if (attention_factor != 0) {
    rope.amplitude = static_cast<float>(attention_factor);
  } else if (mscale != 0 && mscale_all_dim != 0) {
    rope.amplitude = static_cast<float>(Mscale(factor, mscale) /
                                        Mscale(factor, mscale_all_dim));
  } else {
    rope.amplitude = static_cast<float>(Mscale(factor, 1));
  }
  if (mscale_all_dim != 0) {
    const double m = Mscale(factor, mscale_all_dim);
    rope.score_factor = static_cast<float>(m * m);
  }
  return rope;
}

absl::StatusOr<std::vector<float>> Divisors(const json& scaling,
                                            const char* field, int pairs) {
  ASSIGN_OR_RETURN(const std::vector<double> values,
                   ReadNumbers(scaling, field));
  if (static_cast<int>(values.size()) != pairs) {
    return absl::InvalidArgumentError(
        absl::StrCat("config field 'rope_scaling.", field, "': has ",
                     values.size(), " values for ", pairs, " frequencies"));
  }
  for (double v : values) {
    if (!(v > 0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "config field 'rope_scaling.", field, "': must be positive"));
    }
  }
  return std::vector<float>(values.begin(), values.end());
}

absl::StatusOr<Rope> Longrope(int dim, double theta, int max_position,
                              const json& scaling) {
  ASSIGN_OR_RETURN(
      const double original,
      Positive(scaling, "original_max_position_embeddings", max_position));
  ASSIGN_OR_RETURN(const double factor,
                   Positive(scaling, "factor", max_position / original));
  ASSIGN_OR_RETURN(double amplitude,
                   ReadNumber(scaling, "attention_factor", 0));
  ASSIGN_OR_RETURN(const std::vector<float> below,
                   Divisors(scaling, "short_factor", dim / 2));
  ASSIGN_OR_RETURN(const std::vector<float> above,
                   Divisors(scaling, "long_factor", dim / 2));
  Rope rope = DefaultRope(dim, theta, below);
  rope.long_inv_freq = DefaultRope(dim, theta, above).inv_freq;
  rope.long_above = static_cast<int>(original);
  if (amplitude == 0) {
    amplitude = factor <= 1
                    ? 1.0
                    : std::sqrt(1 + std::log(factor) / std::log(original));
  }
  rope.amplitude = static_cast<float>(amplitude);
  return rope;
}

}  // namespace

void Rope::Angles(int position, bool long_prompt, float* cos,
                  float* sin) const {
  const std::vector<float>& f =
      long_prompt && !long_inv_freq.empty() ? long_inv_freq : inv_freq;
  for (size_t i = 0; i < f.size(); ++i) {
    const float angle = static_cast<float>(position) * f[i];
    cos[i] = static_cast<float>(std::cos(double{angle})) * amplitude;
    sin[i] = static_cast<float>(std::sin(double{angle})) * amplitude;
  }
}

Rope DefaultRope(int dim, double theta, absl::Span<const float> divisors) {
  Rope rope;
  rope.dim = dim;
  rope.inv_freq.resize(dim / 2);
  for (int i = 0; i < dim / 2; ++i) {
    const float power =
        std::pow(static_cast<float>(theta), static_cast<float>(2 * i) / dim);
    rope.inv_freq[i] = 1.0f / (divisors.empty() ? power : divisors[i] * power);
  }
  return rope;
}

absl::Status CheckRope(int64_t dim, double theta) {
  if (dim < 2 || dim > 65536 || dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rotary dimension ", dim, " is not an even number up to 65536"));
  }
  if (!(theta > 1) || !std::isfinite(theta)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rope_theta must exceed 1, is ", theta));
  }
  return absl::OkStatus();
}

absl::StatusOr<Rope> RopeFromConfig(int dim, double theta, int max_position,
                                    const json& scaling) {
  RETURN_IF_ERROR(CheckRope(dim, theta));
  const Rope plain = DefaultRope(dim, theta);
  if (!scaling.is_object()) return plain;
  // `type` is the older name of `rope_type`; some configs carry both.
  ASSIGN_OR_RETURN(const std::string old_type,
                   ReadString(scaling, "type", "default"));
  ASSIGN_OR_RETURN(const std::string type,
                   ReadString(scaling, "rope_type", old_type));
  // Up to max_position, where ours ends, `dynamic` does not scale yet.
  if (type == "default" || type == "dynamic") return plain;
  if (type == "linear") return Linear(plain, scaling);
  if (type == "llama3") return Llama3(plain, scaling);
  if (type == "yarn") return Yarn(plain, theta, max_position, scaling);
  if (type == "longrope") return Longrope(dim, theta, max_position, scaling);
  return absl::UnimplementedError(absl::StrCat(
      "config field 'rope_scaling.rope_type': '", type, "' is not supported"));
}

}  // namespace mla::runtime

// Tested by tests/runtime/model_config_test.cc.
#include "runtime/gguf_fields.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

absl::StatusOr<int> GgufFields::Int(const char* key) const {
  ASSIGN_OR_RETURN(const uint32_t value, metadata_.GetU32(Key(key)));
  if (value > uint32_t{1} << 30) {
    return absl::InvalidArgumentError(
        absl::StrCat("GGUF key '", Key(key), "': ", value, " is out of range"));
  }
  return static_cast<int>(value);
}

absl::StatusOr<int> GgufFields::Int(const char* key, int fallback) const {
  return Has(key) ? Int(key) : fallback;
}

absl::StatusOr<int> GgufFields::Between(const char* key, int low,
                                        int high) const {
  ASSIGN_OR_RETURN(const int value, Int(key));
  if (value >= low && value <= high) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF key '", Key(key), "': is ", value, ", must be in [",
                   low, ", ", high, "]"));
}

absl::StatusOr<float> GgufFields::Float(const char* key, float fallback) const {
  if (!Has(key)) return fallback;
  ASSIGN_OR_RETURN(const float value, metadata_.GetF32(Key(key)));
  if (std::isfinite(value)) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF key '", Key(key), "': ", value, " is not finite"));
}

absl::StatusOr<bool> GgufFields::Bool(const char* key, bool fallback) const {
  if (!Has(key)) return fallback;
  return metadata_.GetBool(Key(key));
}

absl::StatusOr<std::string> GgufFields::String(const char* key,
                                               const char* fallback) const {
  if (!Has(key)) return std::string(fallback);
  ASSIGN_OR_RETURN(const std::string_view value, metadata_.GetString(Key(key)));
  return std::string(value);
}

absl::StatusOr<Rope> ReadGgufRope(const GgufFields& fields, int dim,
                                  int max_position,
                                  absl::Span<const float> divisors,
                                  double mscale) {
  ASSIGN_OR_RETURN(const float theta, fields.Float("rope.freq_base", 10000));
  RETURN_IF_ERROR(CheckRope(dim, theta));
  ASSIGN_OR_RETURN(const std::string type,
                   fields.String("rope.scaling.type", "none"));
  if (!divisors.empty()) {
    if (static_cast<int>(divisors.size()) != dim / 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor 'rope_freqs.weight' has ", divisors.size(),
                       " values for ", dim / 2, " frequencies"));
    }
    return DefaultRope(dim, theta, divisors);
  }
  if (type == "none") return DefaultRope(dim, theta);
  nlohmann::json scaling = {{"rope_type", type}};
  ASSIGN_OR_RETURN(scaling["factor"], fields.Float("rope.scaling.factor", 1));
  ASSIGN_OR_RETURN(
      scaling["original_max_position_embeddings"],
      fields.Int("rope.scaling.original_context_length", max_position));
  ASSIGN_OR_RETURN(scaling["beta_fast"],
                   fields.Float("rope.scaling.yarn_beta_fast", 32));
  ASSIGN_OR_RETURN(scaling["beta_slow"],
                   fields.Float("rope.scaling.yarn_beta_slow", 1));
  if (mscale != 0) scaling["mscale"] = scaling["mscale_all_dim"] = mscale;
  return RopeFromConfig(dim, theta, max_position, scaling);
}

}  // namespace mla::runtime

// Tested by tests/runtime/conversion_spec_test.cc.
#include "runtime/convert/conversion_spec.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

struct MethodName {
  const char* name;
  ConversionMethod method;
};
constexpr MethodName kMethods[] = {
    {"sequential", ConversionMethod::kSequential},
    {"weighted", ConversionMethod::kWeighted},
    {"transmla", ConversionMethod::kTransMla},
};

struct MixingName {
  const char* name;
  Mixing mixing;
};
constexpr MixingName kMixings[] = {{"real", Mixing::kReal},
                                   {"complex", Mixing::kComplex},
                                   {"weighted", Mixing::kWeighted}};

absl::Status Wrong(const std::string& field, const std::string& value,
                   const std::string& wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      "conversion field '", field, "': '", value, "' is not ", wanted));
}

absl::Status SetInt(const std::string& field, const std::string& value, int low,
                    int& into) {
  int parsed = 0;
  if (!absl::SimpleAtoi(value, &parsed) || parsed < low || parsed > 1 << 18) {
    return Wrong(field, value, absl::StrCat("from ", low, " to ", 1 << 18));
  }
  into = parsed;
  return absl::OkStatus();
}

absl::Status SetNumber(const std::string& field, const std::string& value,
                       double low, double high, double& into) {
  double parsed = 0;
  if (!absl::SimpleAtod(value, &parsed) || !(parsed >= low && parsed <= high)) {
    return Wrong(field, value, absl::StrCat("from ", low, " to ", high));
  }
  into = parsed;
  return absl::OkStatus();
}

absl::Status Set(const std::string& field, const std::string& value,
                 ConversionSpec& spec) {
  if (field == "kv_lora_rank")
    return SetInt(field, value, 1, spec.kv_lora_rank);
  if (field == "qk_rope_head_dim") {
    return SetInt(field, value, 2, spec.qk_rope_head_dim);
  }
  if (field == "freqfold") return SetInt(field, value, 0, spec.freqfold);
  if (field == "balance") {
    return SetNumber(field, value, 1e-3, 1e3, spec.balance);
  }
  if (field == "feedback") return SetNumber(field, value, 0, 1, spec.feedback);
  if (field == "mixing") {
    for (const MixingName& known : kMixings) {
      if (value != known.name) continue;
      spec.mixing = known.mixing;
      return absl::OkStatus();
    }
    return Wrong(field, value, "real, complex or weighted");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("conversion field '", field,
                   "' is not known; these are: kv_lora_rank, "
                   "qk_rope_head_dim, freqfold, mixing, balance, feedback"));
}

}  // namespace

absl::StatusOr<ConversionSpec> ParseConversionSpec(const std::string& text) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  ConversionSpec spec;
  bool known = false;
  for (const MethodName& method : kMethods) {
    if (parts.first != method.name) continue;
    spec.method = method.method;
    known = true;
  }
  if (!known) {
    return absl::InvalidArgumentError(
        absl::StrCat("conversion method '", parts.first,
                     "' is not sequential, weighted or transmla"));
  }
  if (spec.method == ConversionMethod::kTransMla) spec.mixing = Mixing::kReal;
  for (const std::string& field : std::vector<std::string>(
           absl::StrSplit(parts.second, ',', absl::SkipEmpty()))) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    RETURN_IF_ERROR(Set(pair.first, pair.second, spec));
  }
  if (spec.kv_lora_rank == 0 || spec.qk_rope_head_dim == 0) {
    return absl::InvalidArgumentError(
        "a conversion needs kv_lora_rank and qk_rope_head_dim");
  }
  if (spec.method != ConversionMethod::kSequential && spec.freqfold == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("conversion method '", parts.first, "' needs freqfold"));
  }
  if (spec.freqfold == 0 && spec.mixing != Mixing::kWeighted) {
    return absl::InvalidArgumentError(
        "without freqfold, mixing must be weighted");
  }
  return spec;
}

std::string ConversionSpec::ToString() const {
  std::string text;
  for (const MethodName& known : kMethods) {
    if (known.method == method) text = known.name;
  }
  absl::StrAppend(&text, ":kv_lora_rank=", kv_lora_rank,
                  ",qk_rope_head_dim=", qk_rope_head_dim,
                  ",freqfold=", freqfold);
  for (const MixingName& known : kMixings) {
    if (known.mixing == mixing) absl::StrAppend(&text, ",mixing=", known.name);
  }
  if (method == ConversionMethod::kTransMla) {
    absl::StrAppend(&text, ",balance=", balance);
  }
  if (method == ConversionMethod::kSequential) {
    absl::StrAppend(&text, ",feedback=", feedback);
  }
  return text;
}

}  // namespace mla::runtime

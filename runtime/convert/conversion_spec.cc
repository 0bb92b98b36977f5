// Tested by tests/runtime/conversion_spec_test.cc.
#include "runtime/convert/conversion_spec.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using Strings = std::vector<std::string>;

struct Method {
  const char* name;
  ConversionMethod method;
  const char* fields;  // in the order they are printed in
};
constexpr Method kMethods[] = {
    {"sequential", ConversionMethod::kSequential,
     "ratio,bytes-per-token,kv_lora_rank,qk_rope_head_dim,ranks,q_lora_rank,"
     "freqfold,mixing,feedback"},
    {"weighted", ConversionMethod::kWeighted,
     "ratio,bytes-per-token,kv_lora_rank,qk_rope_head_dim,ranks,q_lora_rank,"
     "freqfold,mixing"},
    {"transmla", ConversionMethod::kTransMla,
     "ratio,bytes-per-token,kv_lora_rank,qk_rope_head_dim,ranks,q_lora_rank,"
     "freqfold,mixing,balance"},
    {"exact", ConversionMethod::kExact, "layout"},
    {"care", ConversionMethod::kCare,
     "ratio,bytes-per-token,kv_lora_rank,qk_rope_head_dim,ranks,q_lora_rank,"
     "freqfold,mixing"},
    {"x-ecomla", ConversionMethod::kXEcoMla,
     "kv_lora_rank,qk_rope_head_dim,q_lora_rank"},
    {"mha2mla", ConversionMethod::kMha2Mla,
     "kv_lora_rank,qk_rope_head_dim,q_lora_rank,select,svd,aware"},
    {"lorc", ConversionMethod::kLorc, "ratio,bytes-per-token,kv_lora_rank"},
    {"qcqa", ConversionMethod::kQcqa, "ratio,bytes-per-token,kv_heads"},
    {"effkv", ConversionMethod::kEffKv, "ratio,bytes-per-token,kv_heads"},
};

template <typename T>
struct Named {
  const char* name;
  T value;
};
constexpr Named<Mixing> kMixings[] = {{"real", Mixing::kReal},
                                      {"complex", Mixing::kComplex},
                                      {"weighted", Mixing::kWeighted}};
constexpr Named<PairChoice> kChoices[] = {{"2-norm", PairChoice::k2Norm},
                                          {"high", PairChoice::kHigh},
                                          {"low", PairChoice::kLow},
                                          {"uniform", PairChoice::kUniform}};
constexpr Named<int> kFolds[] = {{"layer", kFoldPerLayer},
                                 {"auto", kFoldBySearch}};
constexpr Named<bool> kRanks[] = {{"uniform", false}, {"greedy", true}};
constexpr Named<bool> kSvds[] = {{"joint", true}, {"split", false}};
constexpr Named<bool> kLayouts[] = {{"heads", false}, {"single", true}};
constexpr Named<bool> kAware[] = {{"weights", true}, {"activations", false}};

absl::Status Wrong(const std::string& field, const std::string& value,
                   const std::string& wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      "conversion field '", field, "': '", value, "' is not ", wanted));
}

// One field's text, as a value of its type; and back.
constexpr int kMostElements = 1 << 18;
constexpr int kMostBytes = 1 << 30;

absl::Status Read(const std::string& field, const std::string& value, int low,
                  int high, int& into) {
  int parsed = 0;
  if (!absl::SimpleAtoi(value, &parsed) || parsed < low || parsed > high) {
    return Wrong(field, value, absl::StrCat("from ", low, " to ", high));
  }
  into = parsed;
  return absl::OkStatus();
}

absl::Status Read(const std::string& field, const std::string& value, int low,
                  int& into) {
  return Read(field, value, low, kMostElements, into);
}

absl::Status Read(const std::string& field, const std::string& value,
                  double low, double high, double& into) {
  double parsed = 0;
  if (!absl::SimpleAtod(value, &parsed) || !(parsed >= low && parsed <= high)) {
    return Wrong(field, value, absl::StrCat("from ", low, " to ", high));
  }
  into = parsed;
  return absl::OkStatus();
}

template <typename T, size_t n>
absl::Status Read(const std::string& field, const std::string& value,
                  const Named<T> (&names)[n], T& into) {
  Strings known;
  for (const Named<T>& name : names) {
    if (value == name.name) {
      into = name.value;
      return absl::OkStatus();
    }
    known.push_back(name.name);
  }
  return Wrong(field, value, absl::StrJoin(known, " or "));
}

template <typename T, size_t n>
std::string Print(const Named<T> (&names)[n], T value) {
  return std::find_if(std::begin(names), std::end(names),
                      [&](const Named<T>& name) { return name.value == value; })
      ->name;
}

template <typename T>
std::string PrintUnlessZero(T value) {
  return value == 0 ? "" : absl::StrCat(value);
}

struct Field {
  const char* name;
  absl::Status (*read)(const std::string& field, const std::string& value,
                       ConversionSpec& spec);
  std::string (*print)(const ConversionSpec& spec);  // "": it is not set
};
using Text = const std::string&;
using Spec = ConversionSpec;
const Field kFields[] = {
    {"ratio",
     [](Text f, Text v, Spec& s) { return Read(f, v, 1e-3, 1, s.ratio); },
     [](const Spec& s) { return PrintUnlessZero(s.ratio); }},
    {"bytes-per-token",
     [](Text f, Text v, Spec& s) {
       return Read(f, v, 2, kMostBytes, s.bytes_per_token);
     },
     [](const Spec& s) { return PrintUnlessZero(s.bytes_per_token); }},
    {"kv_lora_rank",
     [](Text f, Text v, Spec& s) { return Read(f, v, 1, s.kv_lora_rank); },
     [](const Spec& s) { return PrintUnlessZero(s.kv_lora_rank); }},
    {"qk_rope_head_dim",
     [](Text f, Text v, Spec& s) { return Read(f, v, 2, s.qk_rope_head_dim); },
     [](const Spec& s) { return PrintUnlessZero(s.qk_rope_head_dim); }},
    {"kv_heads",
     [](Text f, Text v, Spec& s) { return Read(f, v, 1, s.kv_heads); },
     [](const Spec& s) { return PrintUnlessZero(s.kv_heads); }},
    {"ranks",
     [](Text f, Text v, Spec& s) { return Read(f, v, kRanks, s.greedy_ranks); },
     [](const Spec& s) { return Print(kRanks, s.greedy_ranks); }},
    {"q_lora_rank",
     [](Text f, Text v, Spec& s) { return Read(f, v, 0, s.q_lora_rank); },
     [](const Spec& s) { return PrintUnlessZero(s.q_lora_rank); }},
    {"freqfold",
     [](Text f, Text v, Spec& s) {
       if (Read(f, v, kFolds, s.freqfold).ok()) return absl::OkStatus();
       return Read(f, v, 0, s.freqfold);
     },
     [](const Spec& s) {
       return s.freqfold < 0 ? Print(kFolds, s.freqfold)
                             : absl::StrCat(s.freqfold);
     }},
    {"mixing",
     [](Text f, Text v, Spec& s) { return Read(f, v, kMixings, s.mixing); },
     [](const Spec& s) { return Print(kMixings, s.mixing); }},
    {"balance",
     [](Text f, Text v, Spec& s) { return Read(f, v, 1e-3, 1e3, s.balance); },
     [](const Spec& s) { return absl::StrCat(s.balance); }},
    {"feedback",
     [](Text f, Text v, Spec& s) { return Read(f, v, 0, 1, s.feedback); },
     [](const Spec& s) { return absl::StrCat(s.feedback); }},
    {"select",
     [](Text f, Text v, Spec& s) { return Read(f, v, kChoices, s.select); },
     [](const Spec& s) { return Print(kChoices, s.select); }},
    {"svd",
     [](Text f, Text v, Spec& s) { return Read(f, v, kSvds, s.joint_svd); },
     [](const Spec& s) { return Print(kSvds, s.joint_svd); }},
    {"aware",
     [](Text f, Text v, Spec& s) { return Read(f, v, kAware, s.from_weights); },
     [](const Spec& s) { return Print(kAware, s.from_weights); }},
    {"layout",
     [](Text f, Text v, Spec& s) {
       return Read(f, v, kLayouts, s.single_latent);
     },
     [](const Spec& s) { return Print(kLayouts, s.single_latent); }},
};

const Field* FindField(const std::string& name) {
  return std::find_if(std::begin(kFields), std::end(kFields),
                      [&](const Field& field) { return name == field.name; });
}

Strings FieldsOf(const Method& method) {
  return absl::StrSplit(method.fields, ',');
}

absl::Status CheckComplete(const Method& method, const ConversionSpec& spec) {
  if (spec.method == ConversionMethod::kExact) return absl::OkStatus();
  const Strings fields = FieldsOf(method);
  const int budgets = (spec.ratio > 0) + (spec.bytes_per_token > 0);
  if (KeepsHeads(spec.method)) {
    if (budgets + (spec.kv_lora_rank > 0) + (spec.kv_heads > 0) == 1) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("conversion method '", method.name, "' needs ",
                     absl::StrJoin(fields, " or ")));
  }
  const bool ranks = spec.kv_lora_rank > 0 && spec.qk_rope_head_dim > 0;
  if (budgets + ranks != 1 || (budgets > 0 && spec.kv_lora_rank > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a conversion needs kv_lora_rank and qk_rope_head_dim",
        fields[0] == "ratio" ? ", or ratio, or bytes-per-token" : ""));
  }
  const bool folds =
      std::find(fields.begin(), fields.end(), "freqfold") != fields.end();
  if (!folds || spec.freqfold != kSelectRope) return absl::OkStatus();
  if (spec.method != ConversionMethod::kSequential) {
    return absl::InvalidArgumentError(
        absl::StrCat("conversion method '", method.name, "' needs freqfold"));
  }
  if (spec.mixing != Mixing::kWeighted) {
    return absl::InvalidArgumentError(
        "without freqfold, mixing must be weighted");
  }
  return absl::OkStatus();
}

}  // namespace

bool KeepsHeads(ConversionMethod method) {
  return method == ConversionMethod::kLorc ||
         method == ConversionMethod::kQcqa ||
         method == ConversionMethod::kEffKv;
}

bool IgnoresText(ConversionMethod method) {
  return method == ConversionMethod::kLorc || method == ConversionMethod::kQcqa;
}

absl::StatusOr<ConversionSpec> ParseConversionSpec(const std::string& text) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  const Method* method = std::find_if(
      std::begin(kMethods), std::end(kMethods),
      [&](const Method& known) { return parts.first == known.name; });
  if (method == std::end(kMethods)) {
    Strings names;
    for (const Method& known : kMethods) names.push_back(known.name);
    return absl::InvalidArgumentError(
        absl::StrCat("conversion method '", parts.first, "' is not one of ",
                     absl::StrJoin(names, ", ")));
  }
  ConversionSpec spec;
  spec.method = method->method;
  const bool published = spec.method == ConversionMethod::kTransMla ||
                         spec.method == ConversionMethod::kCare;
  if (published) spec.mixing = Mixing::kReal;
  const Strings fields = FieldsOf(*method);
  for (const std::string& field :
       Strings(absl::StrSplit(parts.second, ',', absl::SkipEmpty()))) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    if (std::find(fields.begin(), fields.end(), pair.first) == fields.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("conversion field '", pair.first, "' is not known to ",
                       method->name, "; it has ", method->fields));
    }
    RETURN_IF_ERROR(FindField(pair.first)->read(pair.first, pair.second, spec));
  }
  if (fields[0] == "ratio" && parts.second.empty()) spec.ratio = 0.5;
  // Who names a budget leaves the ranks to us; a ladder is for stock configs,
  // which have one for all layers.
  if (spec.method == ConversionMethod::kSequential && spec.kv_lora_rank == 0 &&
      spec.freqfold == kSelectRope && !absl::StrContains(text, "ranks=")) {
    spec.greedy_ranks = true;
  }
  RETURN_IF_ERROR(CheckComplete(*method, spec));
  return spec;
}

std::string ConversionSpec::ToString() const {
  const Method* known = std::find_if(
      std::begin(kMethods), std::end(kMethods),
      [&](const Method& candidate) { return candidate.method == method; });
  Strings fields;
  for (const std::string& field : FieldsOf(*known)) {
    const std::string value = FindField(field)->print(*this);
    if (!value.empty()) fields.push_back(absl::StrCat(field, "=", value));
  }
  return absl::StrCat(known->name, ":", absl::StrJoin(fields, ","));
}

}  // namespace mla::runtime

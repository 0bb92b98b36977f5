// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/value_tests.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "runtime/chat/arithmetic.h"
#include "runtime/chat/comparison.h"
#include "runtime/chat/objects.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

// Tests without arguments.
using Property = bool (*)(const Value& value);

bool IsDefined(const Value& value) { return !value.IsUndefined(); }
bool IsUndefined(const Value& value) { return value.IsUndefined(); }
bool IsNone(const Value& value) { return value.IsNone(); }
bool IsBoolean(const Value& value) { return value.AsBool() != nullptr; }
bool IsTrue(const Value& value) {
  return value.AsBool() != nullptr && *value.AsBool();
}
bool IsFalse(const Value& value) {
  return value.AsBool() != nullptr && !*value.AsBool();
}
bool IsInteger(const Value& value) { return value.AsInt() != nullptr; }
bool IsFloat(const Value& value) { return value.AsFloat() != nullptr; }
bool IsNumber(const Value& value) { return value.AsNumber().has_value(); }
bool IsString(const Value& value) { return value.AsText() != nullptr; }
bool IsMapping(const Value& value) { return value.AsDict() != nullptr; }
// Undefined has a length, 0, and can be iterated, in vain.
bool IsSequence(const Value& value) {
  return value.AsText() != nullptr || value.AsList() != nullptr ||
         value.AsDict() != nullptr || value.IsUndefined();
}
bool IsCallable(const Value& value) {
  return value.AsObject<Callable>() != nullptr;
}

// Tests of a text or a number.
absl::StatusOr<bool> IsInCase(Context& context, const Value& value,
                              Case wanted) {
  const MarkedText* text = value.AsText();
  if (text == nullptr) return false;
  ASSIGN_OR_RETURN(const MarkedText changed,
                   ChangeCase(context.budget(), *text, wanted));
  // str.isupper() also wants a letter that has case at all.
  ASSIGN_OR_RETURN(
      const MarkedText opposite,
      ChangeCase(context.budget(), *text,
                 wanted == Case::kUpper ? Case::kLower : Case::kUpper));
  return changed.str() == text->str() && opposite.str() != text->str();
}

absl::StatusOr<bool> IsDivisible(Context& context, const Value& value,
                                 const Value& divisor, int64_t remainder) {
  ASSIGN_OR_RETURN(
      const Value rest,
      Apply(context.budget(), Arithmetic::kModulo, value, divisor));
  return Equal(context.budget(), rest, Value::Of(remainder));
}

const absl::flat_hash_map<std::string, Property>& Properties() {
  static const auto* const properties =
      new absl::flat_hash_map<std::string, Property>{
          {"defined", IsDefined},   {"undefined", IsUndefined},
          {"none", IsNone},         {"boolean", IsBoolean},
          {"true", IsTrue},         {"false", IsFalse},
          {"integer", IsInteger},   {"float", IsFloat},
          {"number", IsNumber},     {"string", IsString},
          {"mapping", IsMapping},   {"sequence", IsSequence},
          {"iterable", IsSequence}, {"callable", IsCallable},
      };
  return *properties;
}

const absl::flat_hash_map<std::string, Comparison>& Comparisons() {
  static const auto* const comparisons =
      new absl::flat_hash_map<std::string, Comparison>{
          {"equalto", Comparison::kEqual},
          {"eq", Comparison::kEqual},
          {"==", Comparison::kEqual},
          {"ne", Comparison::kNotEqual},
          {"!=", Comparison::kNotEqual},
          {"lt", Comparison::kLess},
          {"lessthan", Comparison::kLess},
          {"<", Comparison::kLess},
          {"le", Comparison::kLessOrEqual},
          {"<=", Comparison::kLessOrEqual},
          {"gt", Comparison::kGreater},
          {"greaterthan", Comparison::kGreater},
          {">", Comparison::kGreater},
          {"ge", Comparison::kGreaterOrEqual},
          {">=", Comparison::kGreaterOrEqual},
          {"in", Comparison::kIn},
      };
  return *comparisons;
}

}  // namespace

absl::StatusOr<bool> ApplyTest(Context& context, const std::string& name,
                               const Value& value, const Arguments& arguments) {
  RETURN_IF_ERROR(context.budget().Steps(1));
  if (const auto it = Properties().find(name); it != Properties().end()) {
    RETURN_IF_ERROR(arguments.Bind(name, {}, 0).status());
    return it->second(value);
  }
  if (const auto it = Comparisons().find(name); it != Comparisons().end()) {
    ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"other"}, 1));
    return Compare(context.budget(), it->second, value, *bound[0]);
  }
  if (name == "sameas") {  // of what cannot change: equal, and of one type
    ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"other"}, 1));
    ASSIGN_OR_RETURN(const bool equal,
                     Equal(context.budget(), value, *bound[0]));
    return equal && std::strcmp(value.TypeName(), bound[0]->TypeName()) == 0;
  }
  if (name == "upper") return IsInCase(context, value, Case::kUpper);
  if (name == "lower") return IsInCase(context, value, Case::kLower);
  const Value two = Value::Of(int64_t{2});
  if (name == "even") return IsDivisible(context, value, two, 0);
  if (name == "odd") return IsDivisible(context, value, two, 1);
  if (name == "divisibleby") {
    ASSIGN_OR_RETURN(const auto bound, arguments.Bind(name, {"num"}, 1));
    return IsDivisible(context, value, *bound[0], 0);
  }
  return absl::UnimplementedError(
      absl::StrCat("test '", name, "' is not supported"));
}

}  // namespace mla::runtime::jinja

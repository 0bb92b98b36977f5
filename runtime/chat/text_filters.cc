// Filters on texts and numbers. Jinja turns whatever comes in into text first.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include <cmath>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/chat/arithmetic.h"
#include "runtime/chat/filters.h"
#include "runtime/chat/json_printing.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

constexpr int64_t kMaxIndent = 1000;

absl::StatusOr<Value> String(Context& context, const Value& input,
                             const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("string", {}, 0).status());
  if (input.AsText() != nullptr) return input;
  ASSIGN_OR_RETURN(MarkedText text, ToText(context.budget(), input));
  return Value::Of(std::move(text));
}

absl::StatusOr<Value> Trim(Context& context, const Value& input,
                           const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind("trim", {"chars"}, 0));
  ASSIGN_OR_RETURN(const MarkedText text, ToText(context.budget(), input));
  std::optional<std::string_view> chars;
  if (bound[0] != nullptr && bound[0]->AsText() != nullptr) {
    chars = bound[0]->AsText()->str();
  }
  ASSIGN_OR_RETURN(MarkedText stripped, Strip(context.budget(), text, chars,
                                              /*left=*/true, /*right=*/true));
  return Value::Of(std::move(stripped));
}

template <Case wanted>
absl::StatusOr<Value> InCase(Context& context, const Value& input,
                             const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("case filter", {}, 0).status());
  ASSIGN_OR_RETURN(const MarkedText text, ToText(context.budget(), input));
  ASSIGN_OR_RETURN(MarkedText changed,
                   ChangeCase(context.budget(), text, wanted));
  return Value::Of(std::move(changed));
}

absl::StatusOr<Value> ReplaceFilter(Context& context, const Value& input,
                                    const Arguments& arguments) {
  Budget& budget = context.budget();
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("replace", {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const MarkedText text, ToText(budget, input));
  ASSIGN_OR_RETURN(const MarkedText from, ToText(budget, *bound[0]));
  ASSIGN_OR_RETURN(const MarkedText to, ToText(budget, *bound[1]));
  const bool bounded = bound[2] != nullptr && bound[2]->AsInt() != nullptr;
  ASSIGN_OR_RETURN(
      MarkedText replaced,
      Replace(budget, text, from.str(), to, bounded ? *bound[2]->AsInt() : -1));
  return Value::Of(std::move(replaced));
}

// What one level of indentation is: a text, or a number of spaces.
absl::StatusOr<MarkedText> Indentation(const Value* width, int64_t fallback) {
  if (width != nullptr && width->AsText() != nullptr) return *width->AsText();
  if (width != nullptr && width->AsInt() == nullptr) {
    return absl::InvalidArgumentError("an indentation is an int or a str");
  }
  const int64_t spaces = width == nullptr ? fallback : *width->AsInt();
  if (spaces > kMaxIndent) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "an indentation of ", spaces, " is wider than ", kMaxIndent));
  }
  return MarkedText(std::string(std::max<int64_t>(spaces, 0), ' '),
                    /*trusted=*/true);
}

absl::StatusOr<Value> Indent(Context& context, const Value& input,
                             const Arguments& arguments) {
  Budget& budget = context.budget();
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("indent", {"width", "first", "blank"}, 0));
  const bool first = bound[1] != nullptr && bound[1]->IsTrue();
  const bool blank = bound[2] != nullptr && bound[2]->IsTrue();
  ASSIGN_OR_RETURN(const MarkedText indentation, Indentation(bound[0], 4));
  ASSIGN_OR_RETURN(MarkedText text, ToText(budget, input));
  text.Append("\n", /*trusted=*/true);  // else a last empty line is lost
  ASSIGN_OR_RETURN(const auto lines, SplitLines(budget, text));
  MarkedText result;
  for (size_t i = 0; i < lines.size(); ++i) {
    RETURN_IF_ERROR(budget.Bytes(indentation.cost() + lines[i].cost()));
    if (i > 0) result.Append("\n", /*trusted=*/true);
    const bool indented = i == 0 ? first : blank || !lines[i].empty();
    if (indented) result.Append(indentation);
    result.Append(lines[i]);
  }
  return Value::Of(std::move(result));
}

absl::StatusOr<Value> ToJsonFilter(Context& context, const Value& input,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const auto bound,
      arguments.Bind("tojson",
                     {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
  JsonStyle style;
  style.ensure_ascii = bound[0] != nullptr && bound[0]->IsTrue();
  style.sort_keys = bound[3] != nullptr && bound[3]->IsTrue();
  if (bound[1] != nullptr && !bound[1]->IsNone()) {
    ASSIGN_OR_RETURN(const MarkedText indent, Indentation(bound[1], 0));
    style.indent = indent.str();
    style.item_separator.pop_back();  // the line ends there
  }
  if (bound[2] != nullptr && !bound[2]->IsNone()) {
    const List* pair = bound[2]->AsList();
    if (pair == nullptr || pair->items.size() != 2 ||
        pair->items[0].AsText() == nullptr ||
        pair->items[1].AsText() == nullptr) {
      return absl::InvalidArgumentError("separators are a pair of strs");
    }
    style.item_separator = pair->items[0].AsText()->str();
    style.key_separator = pair->items[1].AsText()->str();
  }
  ASSIGN_OR_RETURN(MarkedText json, ToJson(context.budget(), input, style));
  return Value::Of(std::move(json));
}

// float(value), or nothing where Python raises a TypeError or a ValueError.
std::optional<double> ParseFloat(const Value& input) {
  if (const auto number = input.AsNumber()) return number;
  double parsed = 0;
  if (input.AsText() == nullptr ||
      !absl::SimpleAtod(input.AsText()->str(), &parsed)) {
    return std::nullopt;
  }
  return parsed;
}

absl::StatusOr<Value> Int(Context& context, const Value& input,
                          const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind("int", {"default"}, 0));
  if (input.IsUndefined()) return UndefinedError(input);
  if (input.AsInt() != nullptr) return input;
  int64_t parsed = 0;
  if (input.AsText() != nullptr &&
      absl::SimpleAtoi(input.AsText()->str(), &parsed)) {
    return Value::Of(parsed);
  }
  constexpr double kEnd = 9223372036854775808.0;  // 2^63
  const auto number = ParseFloat(input);
  if (number.has_value() && *number >= -kEnd && *number < kEnd) {
    return Value::Of(static_cast<int64_t>(*number));
  }
  return bound[0] == nullptr ? Value::Of(int64_t{0}) : *bound[0];
}

absl::StatusOr<Value> Float(Context& context, const Value& input,
                            const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind("float", {"default"}, 0));
  if (input.IsUndefined()) return UndefinedError(input);
  if (const auto number = ParseFloat(input)) return Value::Of(*number);
  return bound[0] == nullptr ? Value::Of(0.0) : *bound[0];
}

absl::StatusOr<Value> Abs(Context& context, const Value& input,
                          const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("abs", {}, 0).status());
  const auto number = input.AsNumber();
  if (number.has_value() && *number >= 0) return input;
  return Negate(input);
}

absl::StatusOr<Value> Round(Context& context, const Value& input,
                            const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("round", {"precision", "method"}, 0));
  const int64_t* given = bound[0] == nullptr ? nullptr : bound[0]->AsInt();
  const int64_t precision = given == nullptr ? 0 : *given;
  const auto number = input.AsNumber();
  if (!number.has_value() || precision < 0 || precision > 15) {
    return absl::InvalidArgumentError(
        "round() takes a number and a precision from 0 to 15");
  }
  const std::string method =
      bound[1] != nullptr && bound[1]->AsText() != nullptr
          ? bound[1]->AsText()->str()
          : "common";
  if (method == "common") {
    if (input.AsInt() != nullptr) return input;
    // printf rounds the exact binary value, halves to even, as Python does.
    double rounded = *number;
    (void)absl::SimpleAtod(absl::StrFormat("%.*f", precision, *number),
                           &rounded);
    return Value::Of(rounded);
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value::Of(std::ceil(*number * scale) / scale);
  if (method == "floor") return Value::Of(std::floor(*number * scale) / scale);
  return absl::InvalidArgumentError("method must be common, ceil or floor");
}

}  // namespace

const FilterTable& TextFilters() {
  static const auto* const table = new FilterTable{
      {"string", String},
      {"safe", String},
      {"trim", Trim},
      {"upper", InCase<Case::kUpper>},
      {"lower", InCase<Case::kLower>},
      {"capitalize", InCase<Case::kCapitalized>},
      {"title", InCase<Case::kJinjaTitle>},
      {"replace", ReplaceFilter},
      {"indent", Indent},
      {"tojson", ToJsonFilter},
      {"int", Int},
      {"float", Float},
      {"abs", Abs},
      {"round", Round},
  };
  return *table;
}

}  // namespace mla::runtime::jinja

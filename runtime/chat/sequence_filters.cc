// Filters on lists and dicts, and `default`. Where Jinja makes a generator,
// these make a list.
//
// Tested by tests/runtime/chat_snippet_test.cc.
#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/chat/access.h"
#include "runtime/chat/arithmetic.h"
#include "runtime/chat/comparison.h"
#include "runtime/chat/filters.h"
#include "runtime/chat/printing.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/chat/value_tests.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

bool IsGiven(const Value* value) {
  return value != nullptr && !value->IsNone();
}

absl::StatusOr<Value> Default(Context& context, const Value& input,
                              const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("default", {"default_value", "boolean"}, 0));
  const bool boolean = bound[1] != nullptr && bound[1]->IsTrue();
  if (!input.IsUndefined() && (!boolean || input.IsTrue())) return input;
  return bound[0] == nullptr ? Value::Of("") : *bound[0];
}

absl::StatusOr<Value> LengthFilter(Context& context, const Value& input,
                                   const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("length", {}, 0).status());
  ASSIGN_OR_RETURN(const int64_t length, Length(context.budget(), input));
  return Value::Of(length);
}

absl::StatusOr<Value> ListFilter(Context& context, const Value& input,
                                 const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("list", {}, 0).status());
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), input));
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> First(Context& context, const Value& input,
                            const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("first", {}, 0).status());
  ASSIGN_OR_RETURN(const auto items, Iterate(context.budget(), input));
  if (!items.empty()) return items.front();
  return Value::MakeUndefined("No first item, sequence was empty.");
}

absl::StatusOr<Value> Last(Context& context, const Value& input,
                           const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("last", {}, 0).status());
  ASSIGN_OR_RETURN(const auto items, Iterate(context.budget(), input));
  if (!items.empty()) return items.back();
  return Value::MakeUndefined("No last item, sequence was empty.");
}

absl::StatusOr<Value> Reverse(Context& context, const Value& input,
                              const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("reverse", {}, 0).status());
  if (const MarkedText* text = input.AsText()) {
    ASSIGN_OR_RETURN(
        MarkedText reversed,
        SliceText(context.budget(), *text, std::nullopt, std::nullopt, -1));
    return Value::Of(std::move(reversed));
  }
  ASSIGN_OR_RETURN(auto items, Iterate(context.budget(), input));
  std::reverse(items.begin(), items.end());
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> Items(Context& context, const Value& input,
                            const Arguments& arguments) {
  RETURN_IF_ERROR(arguments.Bind("items", {}, 0).status());
  if (input.IsUndefined()) return MakeList(context.budget(), {});
  if (input.AsDict() == nullptr) {
    return absl::InvalidArgumentError(
        "Can only get item pairs from a mapping.");
  }
  std::vector<Value> items;
  for (const auto& [key, value] : input.AsDict()->items) {
    ASSIGN_OR_RETURN(Value pair, MakeList(context.budget(), {key, value},
                                          /*is_tuple=*/true));
    items.push_back(std::move(pair));
  }
  return MakeList(context.budget(), std::move(items));
}

absl::StatusOr<Value> Join(Context& context, const Value& input,
                           const Arguments& arguments) {
  Budget& budget = context.budget();
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("join", {"d", "attribute"}, 0));
  MarkedText separator;
  if (bound[0] != nullptr) {
    ASSIGN_OR_RETURN(separator, ToText(budget, *bound[0]));
  }
  ASSIGN_OR_RETURN(auto items, Iterate(budget, input));
  MarkedText joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (IsGiven(bound[1])) {
      ASSIGN_OR_RETURN(items[i], GetPath(context, items[i], *bound[1]));
    }
    ASSIGN_OR_RETURN(const MarkedText text, ToText(budget, items[i]));
    RETURN_IF_ERROR(budget.Bytes(separator.cost() + text.cost()));
    if (i > 0) joined.Append(separator);
    joined.Append(text);
  }
  return Value::Of(std::move(joined));
}

// `rest` is a test or filter by name, with its arguments.
absl::StatusOr<std::string> TakeName(Arguments* rest) {
  if (rest->positional.empty() || rest->positional[0].AsText() == nullptr) {
    return absl::InvalidArgumentError(
        "the name of a filter or test is missing");
  }
  std::string name = rest->positional[0].AsText()->str();
  rest->positional.erase(rest->positional.begin());
  return name;
}

// Jinja's map and select take whatever is false, None too, for an empty list.
absl::StatusOr<std::vector<Value>> IterateIfTrue(Context& context,
                                                 const Value& input) {
  if (!input.IsTrue()) return std::vector<Value>();
  return Iterate(context.budget(), input);
}

absl::StatusOr<Value> Map(Context& context, const Value& input,
                          const Arguments& arguments) {
  ASSIGN_OR_RETURN(auto items, IterateIfTrue(context, input));
  if (arguments.positional.empty()) {
    ASSIGN_OR_RETURN(const auto bound,
                     arguments.Bind("map", {"attribute", "default"}, 1));
    for (Value& item : items) {
      ASSIGN_OR_RETURN(item, GetPath(context, item, *bound[0]));
      if (item.IsUndefined() && bound[1] != nullptr) item = *bound[1];
    }
    return MakeList(context.budget(), std::move(items));
  }
  Arguments rest = arguments;
  ASSIGN_OR_RETURN(const std::string name, TakeName(&rest));
  for (Value& item : items) {
    ASSIGN_OR_RETURN(item, ApplyFilter(context, name, item, rest));
  }
  return MakeList(context.budget(), std::move(items));
}

// select, reject and, with an attribute, selectattr, rejectattr.
template <bool wanted, bool by_attribute>
absl::StatusOr<Value> Select(Context& context, const Value& input,
                             const Arguments& arguments) {
  Arguments rest = arguments;
  Value attribute;
  if (by_attribute) {
    if (rest.positional.empty()) {
      return absl::InvalidArgumentError("the name of an attribute is missing");
    }
    attribute = rest.positional[0];
    rest.positional.erase(rest.positional.begin());
  }
  std::optional<std::string> test;
  if (!rest.positional.empty()) {
    ASSIGN_OR_RETURN(test, TakeName(&rest));
  }
  ASSIGN_OR_RETURN(const auto items, IterateIfTrue(context, input));
  std::vector<Value> selected;
  for (const Value& item : items) {
    Value subject = item;
    if (by_attribute) {
      ASSIGN_OR_RETURN(subject, GetPath(context, item, attribute));
    }
    bool passes = subject.IsTrue();
    if (test.has_value()) {
      ASSIGN_OR_RETURN(passes, ApplyTest(context, *test, subject, rest));
    }
    if (passes == wanted) selected.push_back(item);
  }
  return MakeList(context.budget(), std::move(selected));
}

absl::StatusOr<Value> Sum(Context& context, const Value& input,
                          const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound,
                   arguments.Bind("sum", {"attribute", "start"}, 0));
  ASSIGN_OR_RETURN(const auto items, Iterate(context.budget(), input));
  Value sum = bound[1] == nullptr ? Value::Of(int64_t{0}) : *bound[1];
  for (const Value& item : items) {
    Value term = item;
    if (IsGiven(bound[0])) {
      ASSIGN_OR_RETURN(term, GetPath(context, item, *bound[0]));
    }
    ASSIGN_OR_RETURN(sum, Apply(context.budget(), Arithmetic::kAdd, sum, term));
  }
  return sum;
}

absl::StatusOr<Value> Attr(Context& context, const Value& input,
                           const Arguments& arguments) {
  ASSIGN_OR_RETURN(const auto bound, arguments.Bind("attr", {"name"}, 1));
  if (bound[0]->AsText() == nullptr) {
    return absl::InvalidArgumentError("attr() takes a str");
  }
  // Unlike value.name, never the key of a dict.
  if (input.AsDict() != nullptr) {
    return Value::MakeUndefined("a dict has no such attribute");
  }
  return GetAttribute(context, input, bound[0]->AsText()->str());
}

}  // namespace

const FilterTable& SequenceFilters() {
  static const auto* const table = new FilterTable{
      {"default", Default},
      {"d", Default},
      {"length", LengthFilter},
      {"count", LengthFilter},
      {"list", ListFilter},
      {"first", First},
      {"last", Last},
      {"reverse", Reverse},
      {"items", Items},
      {"join", Join},
      {"map", Map},
      {"select", Select<true, false>},
      {"reject", Select<false, false>},
      {"selectattr", Select<true, true>},
      {"rejectattr", Select<false, true>},
      {"sum", Sum},
      {"attr", Attr},
  };
  return *table;
}

}  // namespace mla::runtime::jinja

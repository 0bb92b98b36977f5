// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/comparison.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/chat/sequences.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"

namespace mla::runtime::jinja {
namespace {

absl::StatusOr<bool> Contains(Budget& budget, const Value& container,
                              const Value& value) {
  if (const MarkedText* text = container.AsText()) {
    if (value.IsUndefined()) return UndefinedError(value);
    if (value.AsText() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("'in <string>' requires string as left operand, not ",
                       value.TypeName()));
    }
    RETURN_IF_ERROR(budget.Bytes(text->size()));
    return FindText(text->str(), value.AsText()->str(), 0) !=
           std::string_view::npos;
  }
  if (const Dict* dict = container.AsDict()) {
    ASSIGN_OR_RETURN(const Value* found, Find(budget, *dict, value));
    return found != nullptr;
  }
  if (const List* list = container.AsList()) {
    for (const Value& item : list->items) {
      ASSIGN_OR_RETURN(const bool equal, Equal(budget, item, value));
      if (equal) return true;
    }
    return false;
  }
  if (container.IsUndefined()) return false;
  return absl::InvalidArgumentError(absl::StrCat(
      "argument of type '", container.TypeName(), "' is not iterable"));
}

absl::StatusOr<bool> LessLists(Budget& budget, const List& a, const List& b) {
  const size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equal(budget, a.items[i], b.items[i]));
    if (!equal) return Less(budget, a.items[i], b.items[i]);
  }
  return a.items.size() < b.items.size();
}

}  // namespace

absl::StatusOr<bool> Less(Budget& budget, const Value& a, const Value& b) {
  RETURN_IF_ERROR(budget.Steps(1));
  if (a.IsUndefined()) return UndefinedError(a);
  if (b.IsUndefined()) return UndefinedError(b);
  const auto int_a = a.AsWhole();
  const auto int_b = b.AsWhole();
  if (int_a && int_b) return *int_a < *int_b;
  const auto number_a = a.AsNumber();
  const auto number_b = b.AsNumber();
  if (number_a && number_b) return *number_a < *number_b;
  if (a.AsText() != nullptr && b.AsText() != nullptr) {
    RETURN_IF_ERROR(budget.Bytes(b.AsText()->size()));
    return a.AsText()->str() < b.AsText()->str();
  }
  if (a.AsList() != nullptr && b.AsList() != nullptr &&
      a.AsList()->is_tuple == b.AsList()->is_tuple) {
    return LessLists(budget, *a.AsList(), *b.AsList());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'<' not supported between instances of '", a.TypeName(),
                   "' and '", b.TypeName(), "'"));
}

absl::StatusOr<bool> Compare(Budget& budget, Comparison op, const Value& left,
                             const Value& right) {
  const auto negate = [](absl::StatusOr<bool> result) {
    if (result.ok()) *result = !*result;
    return result;
  };
  switch (op) {
    case Comparison::kEqual:
      return Equal(budget, left, right);
    case Comparison::kNotEqual:
      return negate(Equal(budget, left, right));
    case Comparison::kLess:
      return Less(budget, left, right);
    case Comparison::kGreater:
      return Less(budget, right, left);
    case Comparison::kIn:
      return Contains(budget, right, left);
    case Comparison::kNotIn:
      return negate(Contains(budget, right, left));
    case Comparison::kLessOrEqual:
    case Comparison::kGreaterOrEqual: {
      // Not the negation of the opposite: a NaN is neither.
      const bool less = op == Comparison::kLessOrEqual;
      ASSIGN_OR_RETURN(const bool strictly, less ? Less(budget, left, right)
                                                 : Less(budget, right, left));
      if (strictly) return true;
      return Equal(budget, left, right);
    }
  }
  return absl::InternalError("no such comparison");
}

}  // namespace mla::runtime::jinja

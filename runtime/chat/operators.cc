// Tested by tests/runtime/chat_expression_test.cc.
#include "runtime/chat/operators.h"

#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

const char* Symbol(Arithmetic op) {
  switch (op) {
    case Arithmetic::kAdd:
      return "+";
    case Arithmetic::kSubtract:
      return "-";
    case Arithmetic::kMultiply:
      return "*";
    case Arithmetic::kDivide:
      return "/";
    case Arithmetic::kFloorDivide:
      return "//";
    case Arithmetic::kModulo:
      return "%";
    case Arithmetic::kPower:
      return "**";
  }
  return "";
}

absl::Status Overflow() {
  return absl::InvalidArgumentError("an integer leaves the range of 64 bits");
}

absl::Status DivisionByZero() {
  return absl::InvalidArgumentError("division by zero");
}

absl::Status Unsupported(Arithmetic op, const Value& left, const Value& right) {
  if (op == Arithmetic::kAdd && (left.AsText() || left.AsList())) {
    return absl::InvalidArgumentError(
        absl::StrCat("can only concatenate ", left.TypeName(), " (not \"",
                     right.TypeName(), "\") to ", left.TypeName()));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unsupported operand type(s) for ", Symbol(op), ": '",
                   left.TypeName(), "' and '", right.TypeName(), "'"));
}

// bool counts as int, as in Python.
std::optional<int64_t> Integer(const Value& value) {
  if (const bool* b = value.AsBool()) return *b ? 1 : 0;
  if (const int64_t* i = value.AsInt()) return *i;
  return std::nullopt;
}

absl::StatusOr<Value> Power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return DivisionByZero();
    return Value::Of(
        std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return Overflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return Overflow();
    }
  }
  return Value::Of(result);
}

absl::StatusOr<Value> ApplyToIntegers(Arithmetic op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Arithmetic::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return Overflow();
      return Value::Of(result);
    case Arithmetic::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return Overflow();
      return Value::Of(result);
    case Arithmetic::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return Overflow();
      return Value::Of(result);
    case Arithmetic::kDivide:
      if (b == 0) return DivisionByZero();
      return Value::Of(static_cast<double>(a) / static_cast<double>(b));
    case Arithmetic::kFloorDivide:
    case Arithmetic::kModulo: {
      if (b == 0) return DivisionByZero();
      if (b == -1) {  // the smallest integer has no opposite
        if (op == Arithmetic::kModulo) return Value::Of(int64_t{0});
        if (a == std::numeric_limits<int64_t>::min()) return Overflow();
      }
      const bool down = a % b != 0 && (a < 0) != (b < 0);
      if (op == Arithmetic::kModulo) {
        return Value::Of(a % b + (down ? b : 0));
      }
      return Value::Of(a / b - (down ? 1 : 0));
    }
    case Arithmetic::kPower:
      return Power(a, b);
  }
  return absl::InternalError("no such operator");
}

absl::StatusOr<Value> ApplyToFloats(Arithmetic op, double a, double b) {
  const bool divides = op == Arithmetic::kDivide ||
                       op == Arithmetic::kFloorDivide ||
                       op == Arithmetic::kModulo;
  if (divides && b == 0) return DivisionByZero();
  switch (op) {
    case Arithmetic::kAdd:
      return Value::Of(a + b);
    case Arithmetic::kSubtract:
      return Value::Of(a - b);
    case Arithmetic::kMultiply:
      return Value::Of(a * b);
    case Arithmetic::kDivide:
      return Value::Of(a / b);
    case Arithmetic::kFloorDivide:
      return Value::Of(std::floor(a / b));
    case Arithmetic::kModulo:
      return Value::Of(a - b * std::floor(a / b));
    case Arithmetic::kPower:
      return Value::Of(std::pow(a, b));
  }
  return absl::InternalError("no such operator");
}

// Text or list times a number.
absl::StatusOr<Value> Repeat(Budget& budget, const Value& value,
                             int64_t count) {
  const MarkedText* text = value.AsText();
  count = value.IsTrue() ? std::max<int64_t>(count, 0) : 0;
  const size_t item_bytes = text != nullptr
                                ? text->size()
                                : value.AsList()->items.size() * sizeof(Value);
  size_t bytes = 0;
  if (__builtin_mul_overflow(item_bytes, static_cast<size_t>(count), &bytes)) {
    bytes = std::numeric_limits<size_t>::max();
  }
  RETURN_IF_ERROR(budget.Bytes(bytes));
  if (text != nullptr) {
    MarkedText repeated;
    for (int64_t i = 0; i < count; ++i) repeated.Append(*text);
    return Value::Of(std::move(repeated));
  }
  const List& list = *value.AsList();
  std::vector<Value> items;
  for (int64_t i = 0; i < count; ++i) {
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return MakeList(budget, std::move(items), list.is_tuple);
}

absl::StatusOr<Value> Concatenate(Budget& budget, const Value& left,
                                  const Value& right) {
  if (left.AsText() != nullptr && right.AsText() != nullptr) {
    RETURN_IF_ERROR(
        budget.Bytes(left.AsText()->size() + right.AsText()->size()));
    MarkedText joined = *left.AsText();
    joined.Append(*right.AsText());
    return Value::Of(std::move(joined));
  }
  if (left.AsList() != nullptr && right.AsList() != nullptr &&
      left.AsList()->is_tuple == right.AsList()->is_tuple) {
    std::vector<Value> items = left.AsList()->items;
    const auto& more = right.AsList()->items;
    items.insert(items.end(), more.begin(), more.end());
    return MakeList(budget, std::move(items), left.AsList()->is_tuple);
  }
  return Unsupported(Arithmetic::kAdd, left, right);
}

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

absl::Status UndefinedError(const Value& undefined) {
  return absl::InvalidArgumentError(undefined.WhyUndefined());
}

absl::StatusOr<Value> Apply(Budget& budget, Arithmetic op, const Value& left,
                            const Value& right) {
  if (left.IsUndefined()) return UndefinedError(left);
  if (right.IsUndefined()) return UndefinedError(right);
  const auto left_int = Integer(left);
  const auto right_int = Integer(right);
  if (left_int && right_int) return ApplyToIntegers(op, *left_int, *right_int);
  const auto left_number = left.AsNumber();
  const auto right_number = right.AsNumber();
  if (left_number && right_number) {
    return ApplyToFloats(op, *left_number, *right_number);
  }
  const auto repeatable = [](const Value& value) {
    return value.AsText() != nullptr || value.AsList() != nullptr;
  };
  if (op == Arithmetic::kAdd) return Concatenate(budget, left, right);
  if (op == Arithmetic::kMultiply && repeatable(left) && right_int) {
    return Repeat(budget, left, *right_int);
  }
  if (op == Arithmetic::kMultiply && left_int && repeatable(right)) {
    return Repeat(budget, right, *left_int);
  }
  if (op == Arithmetic::kModulo && left.AsText() != nullptr) {
    return absl::UnimplementedError("formatting with % is not supported");
  }
  return Unsupported(op, left, right);
}

absl::StatusOr<Value> Negate(const Value& value) {
  if (value.IsUndefined()) return UndefinedError(value);
  if (const auto integer = Integer(value)) {
    return ApplyToIntegers(Arithmetic::kSubtract, 0, *integer);
  }
  if (const double* d = value.AsFloat()) return Value::Of(-*d);
  return absl::InvalidArgumentError(
      absl::StrCat("bad operand type for unary -: '", value.TypeName(), "'"));
}

absl::StatusOr<bool> Less(Budget& budget, const Value& a, const Value& b) {
  RETURN_IF_ERROR(budget.Steps(1));
  if (a.IsUndefined()) return UndefinedError(a);
  if (b.IsUndefined()) return UndefinedError(b);
  const auto int_a = Integer(a);
  const auto int_b = Integer(b);
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

absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  if (value.IsUndefined()) return items;
  if (const List* list = value.AsList()) {
    RETURN_IF_ERROR(budget.Bytes(list->items.size() * sizeof(Value)));
    return list->items;
  }
  if (const Dict* dict = value.AsDict()) {
    RETURN_IF_ERROR(budget.Bytes(dict->items.size() * sizeof(Value)));
    for (const auto& item : dict->items) items.push_back(item.first);
    return items;
  }
  if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(
        budget.Bytes(text->size() * (sizeof(Value) + sizeof(MarkedText))));
    for (size_t pos = 0; pos < text->size();) {
      const size_t begin = pos;
      NextCharacter(text->str(), &pos);
      items.push_back(Value::Of(text->Substr(begin, pos)));
    }
    return items;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", value.TypeName(), "' object is not iterable"));
}

absl::StatusOr<int64_t> Length(Budget& budget, const Value& value) {
  size_t length = 0;
  if (const List* list = value.AsList()) {
    length = list->items.size();
  } else if (const Dict* dict = value.AsDict()) {
    length = dict->items.size();
  } else if (const MarkedText* text = value.AsText()) {
    RETURN_IF_ERROR(budget.Bytes(text->size()));
    length = CountCharacters(text->str());
  } else if (!value.IsUndefined()) {
    return absl::InvalidArgumentError(
        absl::StrCat("object of type '", value.TypeName(), "' has no len()"));
  }
  return static_cast<int64_t>(length);
}

}  // namespace mla::runtime::jinja

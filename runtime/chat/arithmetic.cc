// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "runtime/chat/sequences.h"
#include "runtime/status_macros.h"

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

// By doubling, because `count` may be large.
MarkedText RepeatText(const MarkedText& text, int64_t count) {
  MarkedText repeated;
  MarkedText power = text;  // text times 1, 2, 4, ...
  for (; count > 0; count >>= 1) {
    if ((count & 1) != 0) repeated.Append(power);
    if (count > 1) power.Append(MarkedText(power));
  }
  return repeated;
}

// Text or list times a number.
absl::StatusOr<Value> Repeat(Budget& budget, const Value& value,
                             int64_t count) {
  const MarkedText* text = value.AsText();
  count = value.IsTrue() ? std::max<int64_t>(count, 0) : 0;
  const size_t item_bytes = text != nullptr
                                ? text->cost()
                                : value.AsList()->items.size() * sizeof(Value);
  size_t bytes = 0;
  if (__builtin_mul_overflow(item_bytes, static_cast<size_t>(count), &bytes)) {
    bytes = std::numeric_limits<size_t>::max();
  }
  RETURN_IF_ERROR(budget.Bytes(bytes));
  if (text != nullptr) {
    return Value::Of(RepeatText(*text, count));
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
        budget.Bytes(left.AsText()->cost() + right.AsText()->cost()));
    MarkedText joined = *left.AsText();
    joined.Append(*right.AsText());
    return Value::Of(std::move(joined));
  }
  if (left.AsList() != nullptr && right.AsList() != nullptr &&
      left.AsList()->is_tuple == right.AsList()->is_tuple) {
    std::vector<Value> items = left.AsList()->items;
    const auto& more = right.AsList()->items;
    RETURN_IF_ERROR(budget.Bytes((items.size() + more.size()) * sizeof(Value)));
    items.insert(items.end(), more.begin(), more.end());
    return MakeList(budget, std::move(items), left.AsList()->is_tuple);
  }
  return Unsupported(Arithmetic::kAdd, left, right);
}

}  // namespace

absl::StatusOr<Value> Apply(Budget& budget, Arithmetic op, const Value& left,
                            const Value& right) {
  if (left.IsUndefined()) return UndefinedError(left);
  if (right.IsUndefined()) return UndefinedError(right);
  const auto left_int = left.AsWhole();
  const auto right_int = right.AsWhole();
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
  if (const auto integer = value.AsWhole()) {
    return ApplyToIntegers(Arithmetic::kSubtract, 0, *integer);
  }
  if (const double* d = value.AsFloat()) return Value::Of(-*d);
  return absl::InvalidArgumentError(
      absl::StrCat("bad operand type for unary -: '", value.TypeName(), "'"));
}

}  // namespace mla::runtime::jinja

// The operators of template expressions, as Python applies them.
// Threads: any.
// Errors:  InvalidArgument in Python's words; the budget's.
#ifndef MLA_RUNTIME_CHAT_OPERATORS_H_
#define MLA_RUNTIME_CHAT_OPERATORS_H_

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

enum class Arithmetic {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
};
absl::StatusOr<Value> Apply(Budget& budget, Arithmetic op, const Value& left,
                            const Value& right);

absl::StatusOr<Value> Negate(const Value& value);

enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn,
};
absl::StatusOr<bool> Compare(Budget& budget, Comparison op, const Value& left,
                             const Value& right);

// a < b, for sorting too. Numbers, texts, and lists of them.
absl::StatusOr<bool> Less(Budget& budget, const Value& a, const Value& b);

// What a for statement walks over: the items of a list, the keys of a dict, the
// characters of a text, nothing for Undefined.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value);

// len(value).
absl::StatusOr<int64_t> Length(Budget& budget, const Value& value);

// The error of using an Undefined.
absl::Status UndefinedError(const Value& undefined);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_OPERATORS_H_

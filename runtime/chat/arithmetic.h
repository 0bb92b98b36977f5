// The arithmetic of template expressions, as Python does it, on integers of 64
// bits. + and * work on texts and lists too.
// Threads: any.
// Errors:  InvalidArgument in Python's words; the budget's.
#ifndef MLA_RUNTIME_CHAT_ARITHMETIC_H_
#define MLA_RUNTIME_CHAT_ARITHMETIC_H_

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

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_ARITHMETIC_H_

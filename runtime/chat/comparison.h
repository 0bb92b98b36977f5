// The comparisons of template expressions, as Python does them.
// Threads: any.
// Errors:  InvalidArgument in Python's words; the budget's.
#ifndef MLA_RUNTIME_CHAT_COMPARISON_H_
#define MLA_RUNTIME_CHAT_COMPARISON_H_

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

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

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_COMPARISON_H_

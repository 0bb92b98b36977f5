// Values as sequences, in Python's sense.
// Threads: any.
// Errors:  InvalidArgument in Python's words; the budget's.
#ifndef MLA_RUNTIME_CHAT_SEQUENCES_H_
#define MLA_RUNTIME_CHAT_SEQUENCES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

// What a for statement walks over: the items of a list, the keys of a dict, the
// characters of a text, nothing for Undefined.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value);

// len(value).
absl::StatusOr<int64_t> Length(Budget& budget, const Value& value);

// The error of using an Undefined.
absl::Status UndefinedError(const Value& undefined);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_SEQUENCES_H_

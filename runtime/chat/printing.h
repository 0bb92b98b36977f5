// Values as text: Python's str() and repr(), and json.dumps as chat templates
// see it (non-ASCII characters and HTML left as they are).
//
// The text of a list or dict is untrusted if any text inside it is.
// Threads: any. Errors: the budget's; InvalidArgument for what JSON cannot
// hold.
#ifndef MLA_RUNTIME_CHAT_PRINTING_H_
#define MLA_RUNTIME_CHAT_PRINTING_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

// What `{{ value }}` prints. Undefined prints nothing.
absl::StatusOr<MarkedText> ToText(Budget& budget, const Value& value);

// Python's repr(float): the shortest digits that read back the same.
std::string FormatFloat(double value);

// Python's repr(str), which also quotes names in messages.
std::string Repr(std::string_view text);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_PRINTING_H_

// Values as JSON: json.dumps as chat templates see it, which leaves non-ASCII
// characters and HTML as they are. The JSON is untrusted if any text in it is.
// Threads: any. Errors: the budget's; InvalidArgument for what JSON cannot
// hold.
#ifndef MLA_RUNTIME_CHAT_JSON_PRINTING_H_
#define MLA_RUNTIME_CHAT_JSON_PRINTING_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

struct JsonStyle {
  std::optional<std::string> indent;  // of one level; none: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  bool ensure_ascii = false;
};
absl::StatusOr<MarkedText> ToJson(Budget& budget, const Value& value,
                                  const JsonStyle& style);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_JSON_PRINTING_H_

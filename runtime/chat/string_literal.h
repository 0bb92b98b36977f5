// UnescapeString gives what the inside of a quoted string means, with the
// escapes of Python's string literals.
// Threads: any. Errors: InvalidArgument for an escape that is cut short or that
// names no character. Input and output are valid UTF-8.
#ifndef MLA_RUNTIME_CHAT_STRING_LITERAL_H_
#define MLA_RUNTIME_CHAT_STRING_LITERAL_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mla::runtime::jinja {

absl::StatusOr<std::string> UnescapeString(std::string_view inside);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_STRING_LITERAL_H_

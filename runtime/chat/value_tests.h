// The tests of template expressions: `value is name(arguments)`.
// Threads: any.
// Errors:  Unimplemented for a test that is not in the table; InvalidArgument
// in
//          Python's words; the budget's.
#ifndef MLA_RUNTIME_CHAT_VALUE_TESTS_H_
#define MLA_RUNTIME_CHAT_VALUE_TESTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/chat/arguments.h"
#include "runtime/chat/context.h"
#include "runtime/chat/value.h"

namespace mla::runtime::jinja {

absl::StatusOr<bool> ApplyTest(Context& context, const std::string& name,
                               const Value& value, const Arguments& arguments);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_VALUE_TESTS_H_

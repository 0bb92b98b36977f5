// ParseTemplate turns the source of a template into statements.
// Threads: any; a pure function.
// Errors:  InvalidArgument for what is not Jinja, Unimplemented for a tag that
//          chat templates do not use, ResourceExhausted for absurd nesting or
//          size; all give the line.
// Flow:    source -> [here] -> Block
#ifndef MLA_RUNTIME_CHAT_PARSER_H_
#define MLA_RUNTIME_CHAT_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/chat/statements.h"

namespace mla::runtime::jinja {

absl::StatusOr<Block> ParseTemplate(std::string_view source);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_PARSER_H_

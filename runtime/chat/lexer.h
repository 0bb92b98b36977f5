// Tokenize cuts the source of a template into tokens, with white space around
// tags removed as Hugging Face configures Jinja (trim_blocks, lstrip_blocks,
// no trailing newline).
// Threads: any; a pure function.
// Errors:  InvalidArgument that gives the line.
// Source:  Jinja 3.1, lexer.py.
#ifndef MLA_RUNTIME_CHAT_LEXER_H_
#define MLA_RUNTIME_CHAT_LEXER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mla::runtime::jinja {

enum class TokenKind {
  kText,           // outside tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kInteger,
  kFloat,
  kString,  // `text` is what it means, without quotes and escapes
  kOperator,
  kEnd,  // of the source; the last token
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_LEXER_H_

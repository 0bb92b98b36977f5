// TokenStream is what both halves of the parser read: the tokens of a template
// and a count of how deep its constructs nest.
//
// Owns:    the tokens.
// Threads: one.
// Errors:  InvalidArgument that gives the line.
#ifndef MLA_RUNTIME_CHAT_TOKEN_STREAM_H_
#define MLA_RUNTIME_CHAT_TOKEN_STREAM_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/chat/lexer.h"

namespace mla::runtime::jinja {

class TokenStream {
 public:
  // `tokens` ends with kEnd.
  explicit TokenStream(std::vector<Token> tokens)
      : tokens_(std::move(tokens)) {}

  // The last token is current forever.
  const Token& Current() const { return tokens_[position_]; }
  const Token& Ahead() const {
    return tokens_[std::min(position_ + 1, tokens_.size() - 1)];
  }
  Token Take();

  bool At(TokenKind kind) const { return Current().kind == kind; }
  bool AtOperator(std::string_view op) const;
  bool AtName(std::string_view name) const;

  // Take it if it is current.
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);

  // Take it or fail.
  absl::Status ExpectOperator(std::string_view op);
  absl::Status Expect(TokenKind kind, const char* what);
  absl::StatusOr<std::string> ExpectName();

  // "line 3: <message>"
  absl::Status Error(const std::string& message) const;
  absl::Status Unsupported(const std::string& what) const;
  absl::Status Unexpected() const;

  // One level deeper in the source, for as long as it lives.
  class Nesting {
   public:
    explicit Nesting(TokenStream& stream) : stream_(stream) {
      ++stream_.nesting_;
    }
    ~Nesting() { --stream_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

    absl::Status Check() const;

   private:
    TokenStream& stream_;
  };

 private:
  // What the parser's recursion can take; published templates stay below 20.
  static constexpr int kMaxNesting = 60;

  std::vector<Token> tokens_;
  size_t position_ = 0;
  int nesting_ = 0;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_TOKEN_STREAM_H_

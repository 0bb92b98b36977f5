// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/token_stream.h"

#include "absl/strings/str_cat.h"

namespace mla::runtime::jinja {

Token TokenStream::Take() {
  Token token = Current();
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool TokenStream::AtOperator(std::string_view op) const {
  return At(TokenKind::kOperator) && Current().text == op;
}

bool TokenStream::AtName(std::string_view name) const {
  return At(TokenKind::kName) && Current().text == name;
}

bool TokenStream::SkipOperator(std::string_view op) {
  if (!AtOperator(op)) return false;
  Take();
  return true;
}

bool TokenStream::SkipName(std::string_view name) {
  if (!AtName(name)) return false;
  Take();
  return true;
}

absl::Status TokenStream::ExpectOperator(std::string_view op) {
  if (SkipOperator(op)) return absl::OkStatus();
  return Error(absl::StrCat("expected '", std::string(op), "', got '",
                            Current().text, "'"));
}

absl::Status TokenStream::Expect(TokenKind kind, const char* what) {
  if (!At(kind)) {
    return Error(
        absl::StrCat("expected ", what, ", got '", Current().text, "'"));
  }
  Take();
  return absl::OkStatus();
}

absl::StatusOr<std::string> TokenStream::ExpectName() {
  if (!At(TokenKind::kName)) {
    return Error(absl::StrCat("expected a name, got '", Current().text, "'"));
  }
  return Take().text;
}

absl::Status TokenStream::Error(const std::string& message) const {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", Current().line, ": ", message));
}

absl::Status TokenStream::Unsupported(const std::string& what) const {
  return absl::UnimplementedError(
      absl::StrCat("line ", Current().line, ": ", what, " is not supported"));
}

absl::Status TokenStream::Unexpected() const {
  return Error(At(TokenKind::kEnd)
                   ? "unexpected end of template"
                   : absl::StrCat("unexpected '", Current().text, "'"));
}

absl::Status TokenStream::Nesting::Check() const {
  if (stream_.nesting_ <= kMaxNesting) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "line ", stream_.Current().line, ": nested deeper than ", kMaxNesting));
}

}  // namespace mla::runtime::jinja

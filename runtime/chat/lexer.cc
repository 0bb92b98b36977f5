// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/chat/string_literal.h"
#include "runtime/chat/text_ops.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

constexpr auto kNowhere = std::string_view::npos;

bool IsNameStart(char c) { return absl::ascii_isalpha(c) || c == '_'; }
bool IsNamePart(char c) { return absl::ascii_isalnum(c) || c == '_'; }

// "\r\n" and "\r" become "\n", and one at the very end goes.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

size_t SkipSpace(std::string_view text, size_t pos) {
  while (pos < text.size()) {
    size_t next = pos;
    if (!IsPythonSpace(NextCharacter(text, &next))) break;
    pos = next;
  }
  return pos;
}

std::string_view StripEnd(std::string_view text) {
  size_t end = 0;  // of the last character that is not white space
  for (size_t pos = 0; pos < text.size();) {
    if (!IsPythonSpace(NextCharacter(text, &pos))) end = pos;
  }
  return text.substr(0, end);
}

class Lexer {
 public:
  explicit Lexer(std::string_view source)
      : owned_(NormalizeNewlines(source)), source_(owned_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (pos_ < source_.size()) RETURN_IF_ERROR(ReadTextAndTag());
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status Error(const std::string& message) const {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", line_, ": ", message));
  }

  void Add(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, std::string(text), line_});
  }

  std::string_view Rest() const { return source_.substr(pos_); }

  // Moves to `end`, counting lines.
  void MoveTo(size_t end) {
    const std::string_view passed = source_.substr(pos_, end - pos_);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    if (end > pos_) line_starting_ = passed.back() == '\n';
    pos_ = end;
  }

  size_t FindTag() const {
    for (size_t at = source_.find('{', pos_); at != kNowhere;
         at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '%' || next == '{' || next == '#') return at;
    }
    return kNowhere;
  }

  // Text as the sign of the tag that follows it, and lstrip_blocks, leave it.
  std::string_view TrimBeforeTag(std::string_view text, char sign,
                                 bool is_variable) const {
    if (sign == '-') return StripEnd(text);
    if (sign == '+' || is_variable) return text;
    const size_t line_begin = text.rfind('\n') + 1;  // 0 without a newline
    if (line_begin == 0 && !line_starting_) return text;
    const bool only_space = SkipSpace(text, line_begin) == text.size();
    return only_space ? text.substr(0, line_begin) : text;
  }

  char SignAt(size_t pos) const {
    const char c = pos < source_.size() ? source_[pos] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  absl::Status ReadTextAndTag() {
    const size_t tag = FindTag();
    if (tag == kNowhere) {
      Add(TokenKind::kText, Rest());
      MoveTo(source_.size());
      return absl::OkStatus();
    }
    const char kind = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    const std::string_view text = TrimBeforeTag(
        source_.substr(pos_, tag - pos_), sign, /*is_variable=*/kind == '{');
    if (!text.empty()) Add(TokenKind::kText, text);
    MoveTo(tag + (sign == '\0' ? 2 : 3));
    if (kind == '#') return SkipComment();
    if (kind == '{') {
      Add(TokenKind::kVariableBegin, "{{");
      return ReadTag(TokenKind::kVariableEnd, "}}");
    }
    const size_t raw = MatchWord(pos_, "raw");
    if (raw != kNowhere) return ReadRaw(raw);
    Add(TokenKind::kBlockBegin, "{%");
    return ReadTag(TokenKind::kBlockEnd, "%}");
  }

  // The end of a tag at `pos`, with the white space that goes with it: after
  // "-%}" all of it, after "%}" one newline if `trims`. Or kNowhere.
  size_t MatchEnd(size_t pos, std::string_view end, bool trims) const {
    const char sign = SignAt(pos);
    const size_t at = sign == '\0' ? pos : pos + 1;
    // A variable has no "+}}".
    if (sign == '+' && !trims) return kNowhere;
    if (!source_.substr(at).starts_with(end)) return kNowhere;
    const size_t after = at + end.size();
    if (sign == '-') return SkipSpace(source_, after);
    const bool newline =
        trims && sign == '\0' && source_.substr(after).starts_with('\n');
    return newline ? after + 1 : after;
  }

  absl::Status SkipComment() {
    const size_t close = source_.find("#}", pos_);
    if (close == kNowhere) return Error("Missing end of comment tag");
    const bool sign = close > pos_ && SignAt(close - 1) != '\0';
    MoveTo(MatchEnd(sign ? close - 1 : close, "#}", /*trims=*/true));
    return absl::OkStatus();
  }

  // If `word` and spaces stand at `pos`: the offset after them.
  size_t MatchWord(size_t pos, std::string_view word) const {
    const size_t begin = SkipSpace(source_, pos);
    if (!source_.substr(begin).starts_with(word)) return kNowhere;
    const size_t end = SkipSpace(source_, begin + word.size());
    const std::string_view rest = source_.substr(end);
    return rest.starts_with("%}") || SignAt(end) != '\0' ? end : kNowhere;
  }

  // From after "{% raw ", at `begin`, to after "{% endraw %}".
  absl::Status ReadRaw(size_t begin) {
    const size_t after = MatchEnd(begin, "%}", /*trims=*/true);
    if (after == kNowhere) return Error("Missing end of raw directive");
    // Unlike other tags, this one keeps the newline after it.
    const bool trimmed = SignAt(begin) == '\0' && source_[after - 1] == '\n';
    MoveTo(trimmed ? after - 1 : after);
    for (size_t tag = source_.find("{%", pos_); tag != kNowhere;
         tag = source_.find("{%", tag + 2)) {
      const char sign = SignAt(tag + 2);
      const size_t end = MatchWord(tag + (sign == '\0' ? 2 : 3), "endraw");
      if (end == kNowhere) continue;
      const size_t close = MatchEnd(end, "%}", /*trims=*/true);
      if (close == kNowhere) continue;
      const std::string_view text = TrimBeforeTag(
          source_.substr(pos_, tag - pos_), sign, /*is_variable=*/false);
      if (!text.empty()) Add(TokenKind::kText, text);
      MoveTo(close);
      return absl::OkStatus();
    }
    return Error("Missing end of raw directive");
  }

  // The tokens of a tag, up to and including its end.
  absl::Status ReadTag(TokenKind end_kind, std::string_view end) {
    std::string open_brackets;
    const bool trims = end_kind == TokenKind::kBlockEnd;
    while (true) {
      MoveTo(SkipSpace(source_, pos_));
      if (pos_ == source_.size()) {
        return Error("unexpected end of template inside a tag");
      }
      if (open_brackets.empty()) {
        const size_t after = MatchEnd(pos_, end, trims);
        if (after != kNowhere) {
          Add(end_kind, end);
          MoveTo(after);
          return absl::OkStatus();
        }
      }
      RETURN_IF_ERROR(ReadToken(&open_brackets));
    }
  }

  absl::Status ReadToken(std::string* open_brackets) {
    const char c = source_[pos_];
    if (absl::ascii_isdigit(c)) return ReadNumber();
    if (c == '\'' || c == '"') return ReadString(c);
    if (IsNameStart(c)) {
      size_t end = pos_ + 1;
      while (end < source_.size() && IsNamePart(source_[end])) ++end;
      Add(TokenKind::kName, source_.substr(pos_, end - pos_));
      MoveTo(end);
      return absl::OkStatus();
    }
    return ReadOperator(open_brackets);
  }

  size_t SkipDigits(size_t pos) const {
    while (pos < source_.size() &&
           (absl::ascii_isdigit(source_[pos]) ||
            (source_[pos] == '_' && pos + 1 < source_.size() &&
             absl::ascii_isdigit(source_[pos + 1])))) {
      ++pos;
    }
    return pos;
  }

  absl::Status ReadNumber() {
    size_t end = SkipDigits(pos_);
    TokenKind kind = TokenKind::kInteger;
    // In x.0.1 the numbers are indices.
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    if (!after_dot && source_.substr(end).starts_with('.') &&
        SkipDigits(end + 1) > end + 1) {
      end = SkipDigits(end + 1);
      kind = TokenKind::kFloat;
    }
    if (!after_dot && end < source_.size() &&
        (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t digits = end + 1 + (SignAt(end + 1) != '\0' ? 1 : 0);
      if (SkipDigits(digits) > digits) {
        end = SkipDigits(digits);
        kind = TokenKind::kFloat;
      }
    }
    std::string digits(source_.substr(pos_, end - pos_));
    std::erase(digits, '_');
    Add(kind, digits);
    MoveTo(end);
    return absl::OkStatus();
  }

  absl::Status ReadString(char quote) {
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) {
      end += source_[end] == '\\' ? 2 : 1;
    }
    if (end >= source_.size()) return Error("a string is not closed");
    auto text = UnescapeString(source_.substr(pos_ + 1, end - pos_ - 1));
    if (!text.ok()) return Error(std::string(text.status().message()));
    Add(TokenKind::kString, *text);
    MoveTo(end + 1);
    return absl::OkStatus();
  }

  absl::Status ReadOperator(std::string* open_brackets) {
    static constexpr std::string_view kOperators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!Rest().starts_with(op)) continue;
      RETURN_IF_ERROR(Balance(op[0], open_brackets));
      Add(TokenKind::kOperator, op);
      MoveTo(pos_ + op.size());
      return absl::OkStatus();
    }
    size_t next = pos_;
    NextCharacter(source_, &next);
    return Error(absl::StrCat("unexpected char '",
                              std::string(source_.substr(pos_, next - pos_)),
                              "'"));
  }

  absl::Status Balance(char bracket, std::string* open_brackets) const {
    switch (bracket) {
      case '(':
        open_brackets->push_back(')');
        return absl::OkStatus();
      case '[':
        open_brackets->push_back(']');
        return absl::OkStatus();
      case '{':
        open_brackets->push_back('}');
        return absl::OkStatus();
      case ')':
      case ']':
      case '}':
        if (!open_brackets->ends_with(bracket)) {
          return Error(
              absl::StrCat("unexpected '", std::string(1, bracket), "'"));
        }
        open_brackets->pop_back();
        return absl::OkStatus();
      default:
        return absl::OkStatus();
    }
  }

  const std::string owned_;
  const std::string_view source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // what was read last ended with a newline
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  return Lexer(source).Run();
}

}  // namespace mla::runtime::jinja

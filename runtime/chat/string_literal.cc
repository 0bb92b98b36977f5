// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/string_literal.h"

#include <charconv>

#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

constexpr std::string_view kSimpleEscapes = "\\'\"abfnrtv";
constexpr std::string_view kSimpleMeanings = "\\'\"\a\b\f\n\r\t\v";

// The character code that `digits` spell, or nothing.
absl::StatusOr<char32_t> ParseCode(std::string_view digits, int base) {
  uint32_t code = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, code, base);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (error != std::errc() || stop != end || code > 0x10FFFF || surrogate) {
    return absl::InvalidArgumentError("a string has a malformed escape");
  }
  return code;
}

int HexDigits(char escape) {
  switch (escape) {
    case 'x':
      return 2;
    case 'u':
      return 4;
    case 'U':
      return 8;
    default:
      return 0;
  }
}

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

}  // namespace

absl::StatusOr<std::string> UnescapeString(std::string_view inside) {
  std::string out;
  for (size_t i = 0; i < inside.size(); ++i) {
    if (inside[i] != '\\' || i + 1 == inside.size()) {
      out.push_back(inside[i]);
      continue;
    }
    const char escape = inside[++i];
    const size_t simple = kSimpleEscapes.find(escape);
    std::string_view digits;
    if (escape == '\n') continue;  // joins two lines
    if (simple != std::string_view::npos) {
      out.push_back(kSimpleMeanings[simple]);
      continue;
    }
    int base = 16;
    if (const int count = HexDigits(escape)) {
      digits = inside.substr(i + 1, count);
      if (digits.size() < static_cast<size_t>(count)) digits = "";
      i += count;
    } else if (IsOctal(escape)) {
      size_t end = i + 1;
      while (end < inside.size() && end < i + 3 && IsOctal(inside[end])) ++end;
      digits = inside.substr(i, end - i);
      base = 8;
      i = end - 1;
    } else {
      out.push_back('\\');  // an unknown escape stands for itself
      out.push_back(escape);
      continue;
    }
    const auto code = ParseCode(digits, base);
    if (!code.ok()) return code.status();
    AppendUtf8(*code, &out);
  }
  return out;
}

}  // namespace mla::runtime::jinja

// Tested by tests/server/report_text_test.cc.
#include "server/commands/report_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/utf8.h"

namespace mla::server {
namespace {

// Neither HTML nor XML have these: other controls, and what is no character.
bool IsForbidden(char32_t c) {
  return (c >= 0x7F && c <= 0x9F) || (c >= 0xFDD0 && c <= 0xFDEF) ||
         (c & 0xFFFE) == 0xFFFE;
}

// Well-formed, of characters that every format has.
std::string Clean(std::string_view text) {
  std::string valid;
  if (runtime::AppendLossyUtf8(text, &valid) < text.size()) {
    valid += runtime::kReplacementCharacter;
  }
  std::string clean;
  for (size_t at = 0; at < valid.size();) {
    const char32_t c = runtime::NextCharacter(valid, &at);
    if (c < 0x20 && c != '\n' && c != '\t') {
      runtime::AppendUtf8(0x2400 + c, &clean);
    } else if (IsForbidden(c)) {
      clean += runtime::kReplacementCharacter;
    } else {
      runtime::AppendUtf8(c, &clean);
    }
  }
  return clean;
}

}  // namespace

std::string HtmlText(std::string_view text) {
  std::string html;
  for (const char c : Clean(text)) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::string MarkdownText(std::string_view text) {
  constexpr std::string_view kMarkup = "\\`*_{}[]<>#|~&";
  std::string markdown;
  for (const char c : Clean(text)) {
    if (kMarkup.find(c) != std::string_view::npos) markdown += '\\';
    markdown += c == '\n' || c == '\t' ? ' ' : c;
  }
  return markdown;
}

std::string MarkdownCode(std::string_view text) {
  const std::string clean = Clean(text);
  size_t longest = 2, run = 0;
  for (const char c : clean) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return absl::StrCat(fence, "text\n", clean, "\n", fence, "\n");
}

std::string Grouped(int64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool starts = i == (number < 0 ? 1 : 0);
    if (i > 0 && !starts && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string Bytes(double bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return absl::StrFormat("%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
}

}  // namespace mla::server

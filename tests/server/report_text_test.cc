// Text in reports: nothing becomes markup, and nothing readable is lost.
#include "server/commands/report_text.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "runtime/utf8.h"

namespace mla::server {
namespace {

std::string RandomBytes(std::mt19937& random) {
  constexpr std::string_view kLikely = "&<>\"'`\n\t\r \\|[](){}#*_-\x1b";
  std::string bytes;
  for (size_t n = random() % 60; n > 0; --n) {
    bytes.push_back(random() % 2 == 0 ? kLikely[random() % kLikely.size()]
                                      : static_cast<char>(random() % 256));
  }
  return bytes;
}

std::string Unescaped(const std::string& html) {
  return absl::StrReplaceAll(html, {{"&lt;", "<"},
                                    {"&gt;", ">"},
                                    {"&quot;", "\""},
                                    {"&#39;", "'"},
                                    {"&amp;", "&"}});
}

TEST(ReportText, HtmlHoldsNoMarkupAndNoForbiddenCharacter) {
  std::mt19937 random(4);
  for (int trial = 0; trial < 2000; ++trial) {
    const std::string bytes = RandomBytes(random);
    const std::string html = HtmlText(bytes);
    EXPECT_EQ(html.find_first_of("<>\"'"), std::string::npos) << html;
    const std::string text = Unescaped(html);
    EXPECT_EQ(HtmlText(text), html) << "every & begins an escape";
    ASSERT_EQ(runtime::FindInvalidUtf8(text), std::string::npos);
    for (size_t at = 0; at < text.size();) {
      const char32_t c = runtime::NextCharacter(text, &at);
      EXPECT_TRUE(c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7F) ||
                  (c >= 0xA0 && (c & 0xFFFE) != 0xFFFE &&
                   !(c >= 0xFDD0 && c <= 0xFDEF)))
          << static_cast<uint32_t>(c);
    }
    // Printable ASCII comes through as it is, in order.
    const auto ascii = [](const std::string& s) {
      std::string kept;
      for (char c : s) {
        if ((c >= 0x20 && c < 0x7F) || c == '\n' || c == '\t') kept += c;
      }
      return kept;
    };
    EXPECT_EQ(ascii(text), ascii(bytes));
  }
}

TEST(ReportText, ControlsAreSeen) {
  EXPECT_EQ(HtmlText(std::string("a\0b\r\x1b\n\t", 7)), "a␀b␍␛\n\t");
  EXPECT_EQ(HtmlText("\x7f|\xc2\x85|\xef\xbf\xbe|\xef\xb7\x90|\xff|\xe2\x82"),
            "\uFFFD|\uFFFD|\uFFFD|\uFFFD|\uFFFD|\uFFFD");
  EXPECT_EQ(HtmlText("größe 一 🙂"), "größe 一 🙂");
}

// CommonMark: a line of at least as many backticks as the first ends a block.
TEST(ReportText, NoTextEndsItsCodeBlock) {
  std::mt19937 random(8);
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text;
    for (size_t n = random() % 40; n > 0; --n) text += "`~\n a"[random() % 5];
    const std::string code = MarkdownCode(text);
    const std::vector<std::string> lines = absl::StrSplit(code, '\n');
    const size_t fence = lines[0].find_first_not_of('`');
    ASSERT_GE(fence, 3);
    EXPECT_EQ(lines[0].substr(fence), "text");
    size_t ends = 0;
    for (size_t i = 1; i < lines.size(); ++i) {
      if (lines[i].find(std::string(fence, '`')) != std::string::npos) {
        ends = i;
        break;
      }
    }
    EXPECT_EQ(ends, lines.size() - 2) << code;
    EXPECT_EQ(code.substr(lines[0].size() + 1, text.size()), text);
  }
}

TEST(ReportText, MarkdownStaysOneCell) {
  EXPECT_EQ(MarkdownText("a|b\n<i>"), "a\\|b \\<i\\>");
  EXPECT_EQ(MarkdownText("\\[x](y) `z`"), "\\\\\\[x\\](y) \\`z\\`");
}

TEST(ReportText, NumbersAreGrouped) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(23040), "23,040");
  EXPECT_EQ(Grouped(-1234567), "-1,234,567");
  EXPECT_EQ(Grouped(-123), "-123");
  EXPECT_EQ(Grouped(int64_t{1} << 40), "1,099,511,627,776");
  EXPECT_EQ(Bytes(0), "0 bytes");
  EXPECT_EQ(Bytes(1536), "1.5 KiB");
  EXPECT_EQ(Bytes(1 << 30), "1.0 GiB");
}

}  // namespace
}  // namespace mla::server

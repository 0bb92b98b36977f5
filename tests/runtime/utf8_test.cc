#include "runtime/utf8.h"

#include <gtest/gtest.h>

#include "runtime/unicode.h"

namespace mla::runtime {
namespace {

TEST(Utf8, FindsTheFirstIllFormedByte) {
  EXPECT_EQ(FindInvalidUtf8(""), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("aé漢😀"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\x80"), 2u);            // a continuation alone
  EXPECT_EQ(FindInvalidUtf8("a\xC3"), 1u);             // cut short
  EXPECT_EQ(FindInvalidUtf8("\xC0\xAF"), 0u);          // overlong
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);      // a surrogate
  EXPECT_EQ(FindInvalidUtf8("\xF4\x90\x80\x80"), 0u);  // beyond U+10FFFF
}

TEST(Utf8, AppendAndNextAreInverse) {
  for (char32_t c = 0; c < 0x110000; c += 97) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, &text);
    size_t pos = 0;
    ASSERT_EQ(NextCharacter(text, &pos), c);
    ASSERT_EQ(pos, text.size());
    ASSERT_EQ(FindInvalidUtf8(text), std::string_view::npos);
  }
}

// The examples of The Unicode Standard, section 3.9, tables 3-8 to 3-11.
TEST(Utf8, ReplacesMaximalSubparts) {
  const auto decode = [](std::string_view bytes) {
    std::string text;
    EXPECT_EQ(AppendLossyUtf8(bytes, &text), bytes.size());
    return text;
  };
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(decode("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(decode("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(decode("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            r + r + r + r + "A");
}

TEST(Utf8, LeavesAnIncompleteEndUnused) {
  std::string text;
  EXPECT_EQ(AppendLossyUtf8("a\xF0\x9F\x98", &text), 1u);
  EXPECT_EQ(text, "a");
}

TEST(Utf8, CountsCharacters) {
  EXPECT_EQ(CountCharacters(""), 0u);
  EXPECT_EQ(CountCharacters("aé漢😀"), 4u);
}

TEST(Unicode, KnowsWhiteSpace) {
  for (const char32_t c : U"\t\n\v\f\r \u0085\u00A0\u1680\u2000\u2028\u3000") {
    EXPECT_EQ(IsWhiteSpace(c), c != 0) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : U"a\u001C\u180E\u200B\uFEFF") {
    EXPECT_FALSE(IsWhiteSpace(c)) << static_cast<uint32_t>(c);
  }
}

TEST(Unicode, KnowsWordCharacters) {
  for (const char32_t c : U"aZ0_é漢\u0301٣") {
    EXPECT_EQ(IsWordCharacter(c), c != 0) << static_cast<uint32_t>(c);
  }
  for (const char32_t c : U" -.<😀½") {
    EXPECT_FALSE(IsWordCharacter(c)) << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace mla::runtime

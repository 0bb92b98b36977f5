#include "runtime/tokenizer/normalizer.h"

#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

// From Python's unicodedata.normalize.
TEST(Normalizer, KnowsTheFourUnicodeForms) {
  const std::string text = "e\u0301 \u00c5 \u1e9b\u0323 \ufb01 \u1100\u1161";
  EXPECT_EQ(NormalizeUnicode(text, UnicodeForm::kNfc),
            "\u00e9 \u00c5 \u1e9b\u0323 \ufb01 \uac00");
  EXPECT_EQ(NormalizeUnicode(text, UnicodeForm::kNfd),
            "e\u0301 A\u030a \u017f\u0323\u0307 \ufb01 \u1100\u1161");
  EXPECT_EQ(NormalizeUnicode(text, UnicodeForm::kNfkc),
            "\u00e9 \u00c5 \u1e69 fi \uac00");
  EXPECT_EQ(NormalizeUnicode(text, UnicodeForm::kNfkd),
            "e\u0301 A\u030a s\u0323\u0307 fi \u1100\u1161");
}

TEST(Normalizer, OrdersCombiningMarksByClassStably) {
  EXPECT_EQ(NormalizeUnicode("q\u0307\u0323\u0308", UnicodeForm::kNfd),
            "q\u0323\u0307\u0308");
}

// A sort that is quadratic in the marks on one letter would take minutes.
TEST(Normalizer, AMillionMarksOnOneLetterAreSortedQuickly) {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += "\u0301\u0323";
  const std::string sorted = NormalizeUnicode(text, UnicodeForm::kNfd);
  EXPECT_EQ(sorted.size(), text.size());
  EXPECT_EQ(sorted.substr(0, 5), "a\u0323\u0323");
}

TEST(Normalizer, ExplodingReplacementsAreRefused) {
  Normalizer normalizer;
  for (int i = 0; i < 10; ++i) {
    auto pattern = Regex::Literal("a");
    ASSERT_TRUE(pattern.ok());
    normalizer.AddReplace(*std::move(pattern), std::string(100, 'a'));
  }
  EXPECT_EQ(normalizer.Run(std::string(1000, 'a')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace mla::runtime

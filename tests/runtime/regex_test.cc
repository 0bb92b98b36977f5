#include "runtime/tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> FindAll(std::string_view pattern,
                                 std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<TextRange> matches;
  const absl::Status status = regex->FindAll(text, &matches);
  EXPECT_TRUE(status.ok()) << status;
  std::vector<std::string> found;
  for (const TextRange& match : matches) {
    found.emplace_back(text.substr(match.begin, match.size()));
  }
  return found;
}

TEST(Regex, KnowsUnicodeClasses) {
  EXPECT_THAT(FindAll(R"(\p{L}+)", "aé漢 1ж"), ElementsAre("aé漢", "ж"));
  EXPECT_THAT(FindAll(R"(\p{N})", "1½٣x"), ElementsAre("1", "½", "٣"));
  EXPECT_THAT(FindAll(R"((?i:'s))", "'S'ſ"), ElementsAre("'S", "'ſ"));
}

TEST(Regex, SpaceIsUnicodeWhiteSpaceOnly) {
  EXPECT_THAT(FindAll(R"(\s)", "a\u00A0\u180Eb\u0085"),
              ElementsAre("\u00A0", "\u0085"));
  EXPECT_THAT(FindAll(R"(\S+)", "a\u180Eb c"), ElementsAre("a\u180Eb", "c"));
}

TEST(Regex, DollarMatchesBeforeEveryNewline) {
  EXPECT_THAT(FindAll(R"(a$)", "a\na"), ElementsAre("a", "a"));
}

TEST(Regex, EmptyMatchesAdvance) {
  EXPECT_THAT(FindAll("x*", "axb"), ElementsAre("", "x", ""));
  EXPECT_THAT(FindAll("(?=é)", "éé"), ElementsAre("", ""));
  EXPECT_THAT(FindAll("y", ""), IsEmpty());
}

TEST(Regex, LiteralMatchesItsCharactersOnly) {
  const auto regex = Regex::Literal("a.[é]\\E$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::vector<TextRange> matches;
  ASSERT_TRUE(regex->FindAll("axa.[é]\\E$", &matches).ok());
  EXPECT_THAT(matches, ElementsAre(TextRange{2, 11}));
}

TEST(Regex, RefusesMalformedPatternsWithTheOffset) {
  const auto regex = Regex::Compile("a(b");
  EXPECT_EQ(regex.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(regex.status().message()), HasSubstr("at byte 3"));
}

TEST(Regex, RefusesWhatTheDialectsReadDifferently) {
  for (const char* pattern : {"[a&&b]", "[a[b]]", R"(\h)", "[^]x&&y]"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(),
              absl::StatusCode::kUnimplemented)
        << pattern;
  }
  for (const char* pattern : {"a&&b", "[[:alpha:]]", R"([\[])", "[]a]"}) {
    EXPECT_TRUE(Regex::Compile(pattern).ok()) << pattern;
  }
}

TEST(Regex, CatastrophicBacktrackingReachesTheLimitAndSaysWhere) {
  const auto regex = Regex::Compile("(a|aa|aaa|a?)+$");
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::vector<TextRange> matches;
  const absl::Status status =
      regex->FindAll(std::string(60, 'a') + "b", &matches);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at byte 0 of 61"));
}

// Each start in a run of spaces would be tried up to its end: 10^12 steps here.
TEST(Regex, TrailingSpaceIsFoundInLinearTime) {
  const std::string text = std::string(1'000'000, ' ') + "x\n \n";
  EXPECT_THAT(FindAll(R"(\s+$)", text), ElementsAre("\n \n"));
}

}  // namespace
}  // namespace mla::runtime

#include "runtime/tokenizer/added_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

AddedToken Token(int32_t id, std::string text) {
  AddedToken token;
  token.id = id;
  token.text = std::move(text);
  return token;
}

std::vector<std::pair<int32_t, std::string>> Find(
    const AddedTokens& tokens, std::string_view text,
    std::vector<TextRange> trusted) {
  std::vector<AddedTokens::Match> matches;
  tokens.FindAll(text, trusted, &matches);
  std::vector<std::pair<int32_t, std::string>> found;
  for (const auto& match : matches) {
    found.emplace_back(match.id,
                       text.substr(match.range.begin, match.range.size()));
  }
  return found;
}

TEST(AddedTokens, TheLongestWinsFromLeftToRight) {
  AddedTokens tokens;
  tokens.Add(Token(1, "<|a"));
  tokens.Add(Token(2, "<|a|>"));
  tokens.Add(Token(3, "|>b"));
  EXPECT_THAT(Find(tokens, "x<|a|>b<|a<|", {{0, 12}}),
              ElementsAre(Pair(2, "<|a|>"), Pair(1, "<|a")));
}

TEST(AddedTokens, MarkupIsFoundOnlyWhollyInsideATrustedRange) {
  AddedTokens tokens;
  tokens.Add(Token(1, "<s>"));
  const std::string_view text = "<s><s><s>";
  EXPECT_THAT(Find(tokens, text, {}), IsEmpty());
  EXPECT_THAT(Find(tokens, text, {{3, 6}}), ElementsAre(Pair(1, "<s>")));
  EXPECT_THAT(Find(tokens, text, {{1, 6}}), ElementsAre(Pair(1, "<s>")));
  EXPECT_THAT(Find(tokens, text, {{0, 2}, {2, 5}, {7, 9}}), IsEmpty());
}

TEST(AddedTokens, AShorterTokenIsFoundWhereTheLongerIsNotTrusted) {
  AddedTokens tokens;
  tokens.Add(Token(1, "<s"));
  tokens.Add(Token(2, "<s>"));
  EXPECT_THAT(Find(tokens, "<s>", {{0, 2}}), ElementsAre(Pair(1, "<s")));
}

TEST(AddedTokens, WhiteSpaceIsNotMarkupUnlessSpecial) {
  AddedTokens tokens;
  tokens.Add(Token(1, "\n\n"));
  AddedToken special = Token(2, "\t");
  special.special = true;
  tokens.Add(special);
  EXPECT_THAT(Find(tokens, "a\n\n\t", {}), ElementsAre(Pair(1, "\n\n")));
}

TEST(AddedTokens, NonSpecialMarkupIsMarkupAllTheSame) {
  EXPECT_TRUE(IsMarkup(Token(1, "<｜User｜>")));
  EXPECT_FALSE(IsMarkup(Token(1, "  \u3000")));
}

TEST(AddedTokens, StripFlagsTakeWhiteSpaceAlongOnce) {
  AddedTokens tokens;
  AddedToken token = Token(1, "<m>");
  token.lstrip = token.rstrip = true;
  tokens.Add(token);
  EXPECT_THAT(Find(tokens, "a \u3000<m> \n<m> b", {{0, 16}}),
              ElementsAre(Pair(1, " \u3000<m> \n"), Pair(1, "<m> ")));
}

TEST(AddedTokens, SingleWordsDoNotTouchLetters) {
  AddedTokens tokens;
  AddedToken token = Token(1, "and");
  token.single_word = true;
  tokens.Add(token);
  EXPECT_THAT(Find(tokens, "and sand ande éand and", {{0, 23}}),
              ElementsAre(Pair(1, "and"), Pair(1, "and")));
}

}  // namespace
}  // namespace mla::runtime

#include "runtime/tokenizer/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/tokenizer/byte_level.h"

namespace mla::runtime {
namespace {

using ::testing::HasSubstr;

TEST(Vocabulary, GoesBothWaysAndMayHaveHoles) {
  Vocabulary vocabulary;
  ASSERT_TRUE(vocabulary.Add("b", 3).ok());
  ASSERT_TRUE(vocabulary.Add("", 1).ok());
  EXPECT_EQ(vocabulary.size(), 4);
  EXPECT_EQ(vocabulary.Find("b"), 3);
  EXPECT_EQ(vocabulary.Find("a"), std::nullopt);
  EXPECT_EQ(vocabulary.Text(3), "b");
  EXPECT_TRUE(vocabulary.Has(1));
  EXPECT_FALSE(vocabulary.Has(0));
  EXPECT_FALSE(vocabulary.Has(-1));
  EXPECT_FALSE(vocabulary.Has(4));
  EXPECT_EQ(vocabulary.Text(1'000'000), "");
}

TEST(Vocabulary, RefusesIdsAndTextsGivenTwice) {
  Vocabulary vocabulary;
  ASSERT_TRUE(vocabulary.Add("a", 0).ok());
  EXPECT_THAT(std::string(vocabulary.Add("b", 0).message()),
              HasSubstr("tokens 'a' and 'b' share the id 0"));
  EXPECT_THAT(std::string(vocabulary.Add("a", 7).message()),
              HasSubstr("token 'a' has two ids: 0 and 7"));
}

TEST(Vocabulary, RefusesIdsOutOfRange) {
  Vocabulary vocabulary;
  for (const int64_t id : {int64_t{-1}, Vocabulary::kMaxTokens}) {
    EXPECT_EQ(vocabulary.Add("a", id).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(vocabulary.size(), 0);
}

// From GPT-2's bytes_to_unicode().
TEST(ByteLevel, SpellsBytesAsGpt2Does) {
  EXPECT_EQ(ByteLevelCharacter(' '), "Ġ");
  EXPECT_EQ(ByteLevelCharacter('\n'), "Ċ");
  EXPECT_EQ(ByteLevelCharacter('a'), "a");
  EXPECT_EQ(ByteLevelCharacter(0xAD), "Ń");
  EXPECT_EQ(ByteLevelCharacter(0xFF), "ÿ");
  EXPECT_EQ(ByteLevelToBytes("ĠÃ©"), " é");
  EXPECT_EQ(ByteLevelToBytes("a b"), std::nullopt);
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(ByteLevelToBytes(ByteLevelCharacter(byte)),
              std::string(1, static_cast<char>(byte)));
  }
}

}  // namespace
}  // namespace mla::runtime

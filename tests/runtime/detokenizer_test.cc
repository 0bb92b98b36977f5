#include "runtime/tokenizer/detokenizer.h"

#include <gtest/gtest.h>

#include <random>

#include "runtime/utf8.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::ReadFile;

std::unique_ptr<Tokenizer> Load(const std::string& family) {
  auto tokenizer =
      Tokenizer::FromJson(ReadFile(FamilyDir(family) / "tokenizer.json"), "");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

// The pieces that come out, the one of Finish last.
std::vector<std::string> Stream(const Tokenizer& tokenizer,
                                const std::vector<int32_t>& ids,
                                bool skip_special = false) {
  Detokenizer detokenizer(&tokenizer, skip_special);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(detokenizer.Append(id));
  pieces.push_back(detokenizer.Finish());
  return pieces;
}

using Strings = std::vector<std::string>;

TEST(Detokenizer, HoldsTheBytesOfACharacterTogether) {
  const auto tokenizer = Load("llama3");
  std::vector<int32_t> emoji;  // U+1F600, one token a byte
  for (const char* spelled : {"ð", "Ł", "ĺ", "Ģ"}) {
    emoji.push_back(*tokenizer->IdOf(spelled));
  }
  EXPECT_EQ(Stream(*tokenizer, emoji), (Strings{"", "", "", "😀", ""}));
  // Cut short, and then interrupted.
  emoji.pop_back();
  EXPECT_EQ(Stream(*tokenizer, emoji), (Strings{"", "", "", "\uFFFD"}));
  emoji.push_back(*tokenizer->IdOf("a"));
  EXPECT_EQ(Stream(*tokenizer, emoji), (Strings{"", "", "", "\uFFFDa", ""}));
}

TEST(Detokenizer, HoldsARowOfByteTokensUntilItEnds) {
  const auto tokenizer = Load("llama2");
  const int32_t c3 = *tokenizer->IdOf("<0xC3>");
  const int32_t a9 = *tokenizer->IdOf("<0xA9>");
  const int32_t a = *tokenizer->IdOf("a");
  EXPECT_EQ(Stream(*tokenizer, {c3, a9, a}), (Strings{"", "", "éa", ""}));
  EXPECT_EQ(Stream(*tokenizer, {c3, a9}), (Strings{"", "", "é"}));
  // One ill-formed byte spoils the row, as in Hugging Face.
  EXPECT_EQ(Stream(*tokenizer, {c3, a9, c3, a}),
            (Strings{"", "", "", "\uFFFD\uFFFD\uFFFDa", ""}));
}

TEST(Detokenizer, DropsOneLeadingSpaceWhereTheDecoderStrips) {
  const auto tokenizer = Load("llama2");
  const int32_t space = *tokenizer->IdOf("▁");
  const int32_t a = *tokenizer->IdOf("a");
  EXPECT_EQ(Stream(*tokenizer, {space, space, a}), (Strings{"", " ", "a", ""}));
}

TEST(Detokenizer, SkipsSpecialAndUnknownIds) {
  const auto tokenizer = Load("qwen2");
  const int32_t end = *tokenizer->IdOf("<|im_end|>");
  const int32_t think = *tokenizer->IdOf("<think>");  // added, not special
  const int32_t a = *tokenizer->IdOf("a");
  EXPECT_EQ(Stream(*tokenizer, {a, end, think, -1, 1'000'000}, true),
            (Strings{"a", "", "<think>", "", "", ""}));
  EXPECT_EQ(Stream(*tokenizer, {a, end}), (Strings{"a", "<|im_end|>", ""}));
}

TEST(Detokenizer, PiecesAreValidAndJoinToWhatDecodeReturns) {
  std::mt19937 random(1);
  for (const char* family : mla::testing::kFamilies) {
    const auto tokenizer = Load(family);
    std::uniform_int_distribution<int32_t> any_id(-2,
                                                  tokenizer->vocab_size() + 2);
    for (int round = 0; round < 300; ++round) {
      std::vector<int32_t> ids(round % 40);
      for (int32_t& id : ids) id = any_id(random);
      for (const bool skip_special : {false, true}) {
        std::string joined;
        for (const std::string& piece : Stream(*tokenizer, ids, skip_special)) {
          ASSERT_EQ(FindInvalidUtf8(piece), std::string::npos);
          joined += piece;
        }
        ASSERT_EQ(joined, tokenizer->Decode(ids, skip_special)) << family;
      }
    }
  }
}

}  // namespace
}  // namespace mla::runtime

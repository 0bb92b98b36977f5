// What Encode promises whatever the tokenizer: markup stays text where it is
// not trusted, texts come back, hostile texts end in a status or soon.
#include "runtime/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runtime/utf8.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::ReadFile;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<Tokenizer> Load(const std::string& family) {
  const auto dir = FamilyDir(family);
  auto tokenizer = Tokenizer::FromJson(ReadFile(dir / "tokenizer.json"),
                                       ReadFile(dir / "tokenizer_config.json"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text,
                            EncodeOptions options) {
  const auto ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.value_or(std::vector<int32_t>());
}

TEST(Encode, SpellsOutMarkupUnlessToldToParseIt) {
  for (const char* family : mla::testing::kFamilies) {
    const auto tokenizer = Load(family);
    std::string text = "x";
    for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
      if (tokenizer->IsSpecial(id)) text += tokenizer->TokenText(id);
    }
    const auto ids = Encode(*tokenizer, text, {.add_special = false});
    for (const int32_t id : ids) EXPECT_FALSE(tokenizer->IsSpecial(id));
    // Nothing is lost: the same text comes back.
    EXPECT_EQ(tokenizer->Decode(ids, /*skip_special=*/true), text) << family;
  }
}

TEST(Encode, MarkupThatIsNotSpecialIsSpelledOutToo) {
  const auto tokenizer = Load("qwen2");
  const int32_t think = *tokenizer->IdOf("<think>");
  ASSERT_FALSE(tokenizer->IsSpecial(think));
  EXPECT_THAT(Encode(*tokenizer, "<think>", {}), Not(Contains(think)));
  EXPECT_THAT(Encode(*tokenizer, "<think>", {.parse_special = true}),
              Contains(think));
}

TEST(EncodeTrusting, ObeysMarkupInTrustedRangesOnly) {
  const auto tokenizer = Load("qwen2");
  const int32_t start = *tokenizer->IdOf("<|im_start|>");
  const std::string markup = "<|im_start|>";
  const std::string text = markup + "a" + markup;
  const std::vector<TextRange> trusted = {{0, markup.size()}};
  const auto ids =
      tokenizer->EncodeTrusting(text, trusted, /*add_special=*/false);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(std::count(ids->begin(), ids->end(), start), 1);
  EXPECT_EQ((*ids)[0], start);
  EXPECT_EQ(tokenizer->Decode(*ids, /*skip_special=*/false), text);
}

TEST(Encode, AddsWhatThePostProcessorSays) {
  const auto tokenizer = Load("llama3");
  ASSERT_TRUE(tokenizer->bos_id().has_value());
  const auto with = Encode(*tokenizer, "a", {.add_special = true});
  const auto without = Encode(*tokenizer, "a", {.add_special = false});
  ASSERT_EQ(with.size(), without.size() + 1);
  EXPECT_EQ(with[0], *tokenizer->bos_id());
}

TEST(Encode, RefusesIllFormedTextWithTheOffset) {
  const auto ids = Load("gpt2digits")->Encode("abc\xFFz", {});
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("at byte 3"));
}

TEST(Encode, RandomTextsComeBackFromByteLevelVocabularies) {
  std::mt19937 random(7);
  // qwen2 normalizes, llama2 adds a space; the others keep every byte.
  for (const char* family :
       {"gpt2digits", "llama3", "deepseek_v3", "deepseek_llm"}) {
    const auto tokenizer = Load(family);
    for (int round = 0; round < 300; ++round) {
      std::string text;
      for (int i = 0; i < round % 30; ++i) {
        const char32_t ranges[] = {0x80, 0x800, 0x3000, 0xD800};
        const char32_t c = random() % ranges[random() % 4];
        AppendUtf8(random() % 9 == 0 ? 0x1F000 + c : c, &text);
      }
      const auto ids = Encode(*tokenizer, text, {.add_special = false});
      ASSERT_EQ(tokenizer->Decode(ids, /*skip_special=*/false), text) << family;
    }
  }
}

TEST(Encode, LongHostileTextsTakeLinearTime) {
  std::string marks = "a";
  for (int i = 0; i < 50'000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  std::string almost_markup;
  for (int i = 0; i < 20'000; ++i) almost_markup += "<|im_";
  const std::string texts[] = {std::string(100'000, 'a'),
                               std::string(100'000, ' ') + "x",
                               std::string(100'000, '\n') + "x",
                               std::string(100'000, '7'),
                               marks,
                               almost_markup};
  for (const char* family : mla::testing::kFamilies) {
    const auto tokenizer = Load(family);
    for (const std::string& text : texts) {
      EXPECT_FALSE(Encode(*tokenizer, text, {.parse_special = true}).empty());
    }
  }
}

TEST(Tokenizer, KnowsItsNamedTokens) {
  const auto llama3 = Load("llama3");
  EXPECT_EQ(llama3->named_tokens().at("bos_token"), "<|begin_of_text|>");
  EXPECT_EQ(llama3->named_tokens().at("eos_token"), "<|eot_id|>");
  EXPECT_EQ(llama3->eos_ids(),
            std::vector<int32_t>{*llama3->IdOf("<|eot_id|>")});
  const auto qwen2 = Load("qwen2");
  EXPECT_FALSE(qwen2->bos_id().has_value());
  EXPECT_FALSE(qwen2->named_tokens().contains("bos_token"));
}

}  // namespace
}  // namespace mla::runtime

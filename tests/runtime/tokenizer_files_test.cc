// A GGUF's tokenizer written as Hugging Face's files and read again: the same
// ids, the same texts, the same names. What Python's tokenizers make of the
// files is tests/e2e/hf_writer_test.py's to say.
#include "runtime/tokenizer/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "runtime/chat/chat_template.h"
#include "runtime/tokenizer/gguf_tokens.h"
#include "tests/runtime/family_vocab.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::FamilyVocab;
using ::mla::testing::GoldenDir;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Pair {
  TokenizerFiles files;
  std::unique_ptr<Tokenizer> from_gguf;
  std::unique_ptr<Tokenizer> from_files;
};

// Reads the vocabulary both ways; what does not depend on a text must agree.
Pair ReadBothWays(const GgufVocab& vocab) {
  auto from_gguf = Tokenizer::FromGguf(vocab);
  EXPECT_TRUE(from_gguf.ok()) << from_gguf.status();
  auto files = TokenizerFilesFromGguf(vocab, "");
  EXPECT_TRUE(files.ok()) << files.status();
  if (!from_gguf.ok() || !files.ok()) return {};
  auto from_files =
      Tokenizer::FromJson(files->tokenizer_json, files->tokenizer_config_json);
  EXPECT_TRUE(from_files.ok()) << from_files.status();
  if (!from_files.ok()) return {};
  const Tokenizer& a = **from_gguf;
  const Tokenizer& b = **from_files;
  EXPECT_EQ(a.vocab_size(), b.vocab_size());
  for (int32_t id = 0; id < a.vocab_size(); ++id) {
    EXPECT_EQ(a.Has(id), b.Has(id)) << id;
    EXPECT_EQ(a.TokenText(id), b.TokenText(id)) << id;
    EXPECT_EQ(a.IsSpecial(id), b.IsSpecial(id)) << id;
  }
  EXPECT_EQ(a.bos_id(), b.bos_id());
  EXPECT_EQ(a.prefix(), b.prefix());
  EXPECT_EQ(a.suffix(), b.suffix());
  EXPECT_EQ(a.named_tokens(), b.named_tokens());
  return {*std::move(files), *std::move(from_gguf), *std::move(from_files)};
}

void ExpectSameIds(const Pair& pair, const std::string& text) {
  for (const bool special : {false, true}) {
    const EncodeOptions options{special, special};
    const auto expected = pair.from_gguf->Encode(text, options);
    const auto actual = pair.from_files->Encode(text, options);
    ASSERT_TRUE(expected.ok() && actual.ok());
    EXPECT_EQ(*actual, *expected) << json(text);
    EXPECT_EQ(pair.from_files->Decode(*actual, special),
              pair.from_gguf->Decode(*expected, special));
  }
}

class FilesOfFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(FilesOfFamily, GiveTheIdsOfTheOriginal) {
  const std::string family = GetParam();
  const Pair pair = ReadBothWays(FamilyVocab(family));
  ASSERT_NE(pair.from_files, nullptr);
  EXPECT_EQ(pair.files.warning, "");
  mla::testing::ExpectEncodes(*pair.from_files,
                              FamilyDir(family) / "encode.jsonl");
  mla::testing::ExpectDecodes(*pair.from_files,
                              FamilyDir(family) / "decode.jsonl");
  // Text whose markup is not trusted has no golden: the GGUF's ids are.
  for (const auto& row :
       mla::testing::ReadJsonLines(FamilyDir(family) / "encode.jsonl")) {
    ExpectSameIds(pair, row["text"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, FilesOfFamily,
                         ::testing::ValuesIn(mla::testing::kFamilies),
                         [](const auto& info) { return info.param; });

TEST(FilesOfSmolLm2, GiveTheIdsOfTheOriginal) {
  const Pair pair = ReadBothWays(mla::testing::SmolLm2Vocab());
  ASSERT_NE(pair.from_files, nullptr);
  mla::testing::ExpectEncodes(*pair.from_files,
                              GoldenDir() / "tokenizers/smollm2_encode.jsonl");
  mla::testing::ExpectDecodes(*pair.from_files,
                              GoldenDir() / "tokenizers/smollm2_decode.jsonl");
}

int32_t Type(GgufTokenType type) { return static_cast<int32_t>(type); }

// SentencePiece's scores have no order among the ways to cut one token; a list
// of merges does. On texts of two letters, where such cuts meet, ids agree.
TEST(TokenizerFiles, MergesByScoreAndByListMeetOnTheSameIds) {
  std::mt19937 random(7);
  const auto pick = [&](size_t n) { return random() % n; };
  for (int vocabularies = 0; vocabularies < 100; ++vocabularies) {
    GgufVocab vocab;
    vocab.model = "llama";
    vocab.tokens = {"\xE2\x96\x81", "a", "b"};
    while (vocab.tokens.size() < 20) {
      const std::string token = vocab.tokens[pick(vocab.tokens.size())] +
                                vocab.tokens[pick(vocab.tokens.size())];
      if (token.size() < 12 &&
          std::find(vocab.tokens.begin(), vocab.tokens.end(), token) ==
              vocab.tokens.end()) {
        vocab.tokens.push_back(token);
      }
    }
    vocab.scores.resize(vocab.tokens.size());
    std::iota(vocab.scores.begin(), vocab.scores.end(), -100.0f);
    std::shuffle(vocab.scores.begin(), vocab.scores.end(), random);
    const Pair pair = ReadBothWays(vocab);
    ASSERT_NE(pair.from_files, nullptr);
    EXPECT_EQ(pair.files.warning, "");
    for (int texts = 0; texts < 50; ++texts) {
      std::string text;
      for (size_t n = pick(30); n > 0; --n) text.push_back("ab "[pick(3)]);
      ExpectSameIds(pair, text);
    }
  }
}

TEST(TokenizerFiles, EqualScoresAreWarnedOf) {
  GgufVocab vocab;
  vocab.model = "llama";
  vocab.tokens = {"a", "b", "c", "ab", "bc", "z"};
  vocab.scores = {-9, -9, -9, -1, -1, -1};
  const auto files = TokenizerFilesFromGguf(vocab, "");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(files->warning, HasSubstr("2 tokens have the score of another"));
}

// Every kind of token, with holes, in an order in which types change.
GgufVocab OddVocab() {
  const int32_t normal = Type(GgufTokenType::kNormal);
  const int32_t control = Type(GgufTokenType::kControl);
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "llama3";  // ignores merges
  vocab.tokens = {"a",   "<s>", "b", "",  "ab", "\n\n", "</s>",
                  "<x>", "c",   "",  "<", "s",  ">",    "<s"};
  vocab.types.assign(vocab.tokens.size(), normal);
  vocab.types[1] = vocab.types[6] = control;
  vocab.types[5] = vocab.types[7] = Type(GgufTokenType::kUserDefined);
  vocab.types[8] = 5;  // unused
  // The second is there twice; the last would spell a control token.
  vocab.merges = {"< s", "a b", "a b", "<s >"};
  vocab.bos_id = 1;
  vocab.eos_id = vocab.pad_id = 6;
  vocab.eot_id = 7;
  vocab.add_bos = vocab.add_eos = true;
  return vocab;
}

TEST(TokenizerFiles, MarkupIsNeverSpelled) {
  const Pair pair = ReadBothWays(OddVocab());
  ASSERT_NE(pair.from_files, nullptr);
  for (const char* text : {"<s>", "ab<s>c</s>\n\nabc<x>", "\n\n", "a\nb", ""}) {
    ExpectSameIds(pair, text);
  }
  const auto ids = pair.from_files->Encode("<s>", {.add_special = false});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre(13, 12));
  const json merges = json::parse(pair.files.tokenizer_json)["model"]["merges"];
  EXPECT_EQ(merges, json::parse(R"([["<", "s"], ["a", "b"]])"));
}

TEST(TokenizerFiles, ConfigsNameTheTokensAndTheTemplate) {
  const auto files =
      TokenizerFilesFromGguf(OddVocab(), "{{ bos_token }}größe\n");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(json::parse(files->tokenizer_config_json), json::parse(R"({
    "add_bos_token": true, "add_eos_token": true,
    "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>",
    "chat_template": "{{ bos_token }}größe\n",
    "clean_up_tokenization_spaces": false,
    "tokenizer_class": "PreTrainedTokenizerFast"})"));
  EXPECT_EQ(json::parse(files->generation_config_json), json::parse(R"({
    "bos_token_id": 1, "eos_token_id": [6, 7], "pad_token_id": 6})"));
  const auto found = FindChatTemplate(files->tokenizer_config_json);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, "{{ bos_token }}größe\n");

  GgufVocab vocab = OddVocab();
  vocab.eot_id = vocab.eos_id;
  vocab.bos_id = vocab.pad_id = std::nullopt;
  const auto plain = TokenizerFilesFromGguf(vocab, "");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(json::parse(plain->generation_config_json),
            json::parse(R"({"eos_token_id": 6})"));
  EXPECT_FALSE(
      json::parse(plain->tokenizer_config_json).contains("chat_template"));
}

TEST(TokenizerFiles, BytesThatTheFilesCannotSayAreRefused) {
  GgufVocab vocab;
  vocab.model = "llama";
  vocab.tokens = {"<unk>", "<0x0A>", "<0x0B>", "a"};
  vocab.scores = {0, 0, 0, 0};
  const int32_t normal = Type(GgufTokenType::kNormal);
  const int32_t byte = Type(GgufTokenType::kByte);
  const auto refuse = [&](const std::string& message) {
    const auto files = TokenizerFilesFromGguf(vocab, "");
    EXPECT_EQ(files.status().code(), absl::StatusCode::kUnimplemented)
        << files.status();
    EXPECT_THAT(std::string(files.status().message()), HasSubstr(message));
  };
  vocab.unk_id = 0;
  for (const auto& types :
       {std::vector<int32_t>{normal, byte, byte, normal},
        std::vector<int32_t>{normal, normal, normal, normal}}) {
    vocab.types = types;
    const Pair pair = ReadBothWays(vocab);
    ASSERT_NE(pair.from_files, nullptr);
    for (const char* text : {"a\n\x0b", "\x0c\x0c", "<0x0A>"}) {
      ExpectSameIds(pair, text);
    }
  }
  vocab.types = {normal, byte, normal, normal};
  refuse("token 2, '<0x0B>', is spelled like a byte but is none");
  vocab.types = {normal, byte, byte, byte};
  refuse("token 3, 'a', is a byte but not spelled like one");
  vocab.types = {normal, byte, byte, normal};
  vocab.tokens[2] = "<0x0b>";
  refuse("token 2, '<0x0b>', is a byte but not spelled like one");
  vocab.model = "gpt2";
  refuse("token 1, '<0x0A>', is a byte in a vocabulary that spells bytes");
}

TEST(TokenizerFiles, WhatCannotBeNamedOrWrittenIsRefused) {
  const auto refuse = [](const GgufVocab& vocab, std::string_view chat,
                         const std::string& message) {
    const auto files = TokenizerFilesFromGguf(vocab, chat);
    EXPECT_EQ(files.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(files.status().message()), HasSubstr(message));
  };
  GgufVocab vocab = OddVocab();
  refuse(vocab, "\xff", "tokenizer.chat_template is not valid UTF-8");
  vocab.bos_id = 3;
  refuse(vocab, "", "the bos_token is a token without a text");
  vocab.bos_id = 99;
  refuse(vocab, "", "tokenizer.ggml.bos_token_id is 99");
}

}  // namespace
}  // namespace mla::runtime

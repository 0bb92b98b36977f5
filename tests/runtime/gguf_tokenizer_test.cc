// GGUF metadata -> ids and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/tokenizer/gguf_vocab.h"
#include "tests/runtime/family_vocab.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::FamilyVocab;
using ::mla::testing::GoldenDir;
using ::mla::testing::SmolLm2Vocab;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kNormal = 1, kControl = 3;

TEST(SmolLm2, EncodesAsItsOwnTokenizerDoes) {
  const auto tokenizer = Tokenizer::FromGguf(SmolLm2Vocab());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 49152);
  mla::testing::ExpectEncodes(**tokenizer,
                              GoldenDir() / "tokenizers/smollm2_encode.jsonl");
}

TEST(SmolLm2, DecodesEveryPrefixAsItsOwnTokenizerDoes) {
  const auto tokenizer = Tokenizer::FromGguf(SmolLm2Vocab());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  mla::testing::ExpectDecodes(**tokenizer,
                              GoldenDir() / "tokenizers/smollm2_decode.jsonl");
}

class GgufFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufFamily, GivesTheSameIdsAsItsTokenizerJson) {
  const std::string family = GetParam();
  const auto tokenizer = Tokenizer::FromGguf(FamilyVocab(family));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  mla::testing::ExpectEncodes(**tokenizer, FamilyDir(family) / "encode.jsonl");
  mla::testing::ExpectDecodes(**tokenizer, FamilyDir(family) / "decode.jsonl");
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufFamily,
                         ::testing::ValuesIn(mla::testing::kFamilies),
                         [](const auto& info) { return info.param; });

GgufVocab TinyVocab() {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  vocab.tokens = {"<s>", "a", "b", "ab"};
  vocab.types = {kControl, kNormal, kNormal, kNormal};
  vocab.merges = {"a b"};
  return vocab;
}

void ExpectRefused(const GgufVocab& vocab, absl::StatusCode code,
                   const std::string& message) {
  const auto tokenizer = Tokenizer::FromGguf(vocab);
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(message));
}

TEST(FromGguf, RefusesWhatItCannotReadAndNamesIt) {
  GgufVocab vocab = TinyVocab();
  vocab.model = "bert";
  ExpectRefused(vocab, absl::StatusCode::kUnimplemented, "'bert'");
  vocab = TinyVocab();
  vocab.pre = "martian";
  ExpectRefused(vocab, absl::StatusCode::kUnimplemented, "'martian'");
  vocab = TinyVocab();
  vocab.tokens.clear();
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument, "tokens is empty");
  vocab = TinyVocab();
  vocab.tokens[2] = "a";
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "token 'a' has two ids: 1 and 2");
  vocab = TinyVocab();
  vocab.types.pop_back();
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "token_type has 3 elements for 4 tokens");
  vocab = TinyVocab();
  vocab.merges = {"a b", "a z"};
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument, "merge 1, 'a z'");
  vocab = TinyVocab();
  vocab.merges = {"ab"};
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "merge 0 is not two tokens: 'ab'");
  vocab = TinyVocab();
  vocab.eos_id = 4;
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "tokenizer.ggml.eos_token_id is 4; there are 4 tokens");
  vocab = TinyVocab();
  vocab.tokens[1] = "\xFF";
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "token 1 is not valid UTF-8");
  vocab = TinyVocab();
  vocab.model = "llama";
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "scores has 0 elements for 4 tokens");
  vocab.scores = {0, 0, std::nanf(""), 0};
  ExpectRefused(vocab, absl::StatusCode::kInvalidArgument,
                "the score of token 2 is not a number");
}

// Appends the bytes of a GGUF metadata section.
class MetadataWriter {
 public:
  void String(const std::string& text) {
    Number<uint64_t>(text.size());
    bytes_ += text;
  }
  template <typename T>
  void Number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Key(const std::string& key, GgufType type) {
    String(key);
    Number(static_cast<uint32_t>(type));
    ++count_;
  }
  absl::StatusOr<GgufMetadata> Parse() const {
    ByteCursor cursor(
        {reinterpret_cast<const std::byte*>(bytes_.data()), bytes_.size()});
    return GgufMetadata::Parse(cursor, count_);
  }

 private:
  std::string bytes_;
  uint64_t count_ = 0;
};

TEST(ReadGgufVocab, TakesWhatTheFileSaysAndLeavesTheRestOut) {
  MetadataWriter writer;
  writer.Key("tokenizer.ggml.model", GgufType::kString);
  writer.String("gpt2");
  writer.Key("tokenizer.ggml.tokens", GgufType::kArray);
  writer.Number(static_cast<uint32_t>(GgufType::kString));
  writer.Number<uint64_t>(2);
  writer.String("a");
  writer.String("b");
  writer.Key("tokenizer.ggml.eos_token_id", GgufType::kU32);
  writer.Number<uint32_t>(1);
  writer.Key("tokenizer.ggml.add_bos_token", GgufType::kBool);
  writer.Number<uint8_t>(1);
  const auto metadata = writer.Parse();
  ASSERT_TRUE(metadata.ok()) << metadata.status();
  const auto vocab = ReadGgufVocab(*metadata);
  ASSERT_TRUE(vocab.ok()) << vocab.status();
  EXPECT_EQ(vocab->model, "gpt2");
  EXPECT_THAT(vocab->tokens, ElementsAre("a", "b"));
  EXPECT_EQ(vocab->eos_id, 1u);
  EXPECT_EQ(vocab->add_bos, true);
  EXPECT_EQ(vocab->bos_id, std::nullopt);
  EXPECT_TRUE(vocab->merges.empty());
}

}  // namespace
}  // namespace mla::runtime

// GGUF metadata -> ids and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/tokenizer/gguf_vocab.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::GoldenDir;
using ::mla::testing::ReadFile;
using ::mla::testing::SmolLm2Vocab;
using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4,
                  kByte = 6;

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

// What a converter to GGUF would write for a family's tokenizer.json.
GgufVocab ConvertFamily(const std::string& family, const std::string& pre) {
  const json file = json::parse(ReadFile(FamilyDir(family) / "tokenizer.json"));
  GgufVocab vocab;
  vocab.model = family == "llama2" ? "llama" : "gpt2";
  vocab.pre = pre;
  std::vector<std::pair<int32_t, std::string>> tokens;
  for (const auto& [text, id] : file["model"]["vocab"].items()) {
    tokens.emplace_back(id, text);
  }
  for (const auto& token : file["added_tokens"]) {
    tokens.emplace_back(token["id"], token["content"]);
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  for (const auto& [id, text] : tokens) vocab.tokens.push_back(text);
  vocab.types.assign(tokens.size(), kNormal);
  for (const auto& token : file["added_tokens"]) {
    vocab.types[token["id"]] = token["special"] ? kControl : kUserDefined;
  }
  for (const auto& merge : file["model"]["merges"]) {
    vocab.merges.push_back(merge[0].get<std::string>() + " " +
                           merge[1].get<std::string>());
  }
  const json config =
      json::parse(ReadFile(FamilyDir(family) / "tokenizer_config.json"));
  const auto id_of = [&](const json& text) -> std::optional<uint32_t> {
    if (text.is_null()) return std::nullopt;
    return std::find(vocab.tokens.begin(), vocab.tokens.end(), text) -
           vocab.tokens.begin();
  };
  vocab.bos_id = id_of(config["bos_token"]);
  vocab.eos_id = id_of(config["eos_token"]);
  vocab.unk_id = id_of(config["unk_token"]);
  vocab.add_bos = config["add_bos_token"];
  return vocab;
}

struct NamedFamily {
  const char* family;
  const char* pre;
};

class GgufFamily : public ::testing::TestWithParam<NamedFamily> {};

TEST_P(GgufFamily, GivesTheSameIdsAsItsTokenizerJson) {
  const auto [family, pre] = GetParam();
  const auto tokenizer = Tokenizer::FromGguf(ConvertFamily(family, pre));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  mla::testing::ExpectEncodes(**tokenizer, FamilyDir(family) / "encode.jsonl");
  mla::testing::ExpectDecodes(**tokenizer, FamilyDir(family) / "decode.jsonl");
}

INSTANTIATE_TEST_SUITE_P(
    Golden, GgufFamily,
    ::testing::Values(NamedFamily{"gpt2digits", "smollm"},
                      NamedFamily{"llama3", "llama-bpe"},
                      NamedFamily{"qwen2", "qwen2"},
                      NamedFamily{"deepseek_v3", "deepseek-v3"},
                      NamedFamily{"deepseek_llm", "deepseek-llm"}),
    [](const auto& info) { return info.param.family; });

// SentencePiece has scores where tokenizer.json has merges: a token that an
// earlier merge makes has the higher score.
TEST(GgufSentencePiece, GivesTheSameIdsAsItsTokenizerJson) {
  GgufVocab vocab = ConvertFamily("llama2", "");
  vocab.scores.assign(vocab.tokens.size(), -1e9f);
  for (size_t rank = 0; rank < vocab.merges.size(); ++rank) {
    std::string merged = vocab.merges[rank];
    merged.erase(merged.find(' '), 1);
    const auto it = std::find(vocab.tokens.begin(), vocab.tokens.end(), merged);
    float& score = vocab.scores[it - vocab.tokens.begin()];
    score = std::max(score, -static_cast<float>(rank));
  }
  vocab.merges.clear();
  vocab.types[0] = kUnknown;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (vocab.tokens[id].starts_with("<0x")) vocab.types[id] = kByte;
  }
  const auto tokenizer = Tokenizer::FromGguf(vocab);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  mla::testing::ExpectEncodes(**tokenizer,
                              FamilyDir("llama2") / "encode.jsonl");
  mla::testing::ExpectDecodes(**tokenizer,
                              FamilyDir("llama2") / "decode.jsonl");
}

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

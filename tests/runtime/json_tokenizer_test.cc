// tokenizer.json -> ids and back: every golden line of every family, and what
// is said of files that are wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::CommittedGoldenDir;
using ::mla::testing::FamilyDir;
using ::mla::testing::ReadFile;
using ::nlohmann::json;
using ::nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto dir = FamilyDir(GetParam());
    auto tokenizer =
        Tokenizer::FromJson(ReadFile(dir / "tokenizer.json"),
                            ReadFile(dir / "tokenizer_config.json"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(Family, EncodesAsHuggingFaceDoes) {
  mla::testing::ExpectEncodes(*tokenizer_,
                              FamilyDir(GetParam()) / "encode.jsonl");
}

TEST_P(Family, DecodesEveryPrefixAsHuggingFaceDoes) {
  mla::testing::ExpectDecodes(*tokenizer_,
                              FamilyDir(GetParam()) / "decode.jsonl");
}

// One component or option at a time; see make_components.py.
TEST(Components, EncodeAndDecodeAsHuggingFaceDoes) {
  std::map<std::string, ordered_json> bases;
  for (const auto& row : mla::testing::ReadJsonLines(
           CommittedGoldenDir() / "tokenizers/components.jsonl")) {
    if (row.contains("tokenizer")) {
      bases[row["base"]] = row["tokenizer"];
      continue;
    }
    SCOPED_TRACE(row["name"]);
    ordered_json file = bases[row["base"]];
    file.update(row["changes"]);
    const auto tokenizer = Tokenizer::FromJson(file.dump(), "");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (const auto& test_case : row["cases"]) {
      const auto ids =
          (*tokenizer)
              ->Encode(test_case["text"].get<std::string>(),
                       {.add_special = true, .parse_special = true});
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, test_case["ids"].get<std::vector<int32_t>>())
          << test_case["text"];
      EXPECT_EQ((*tokenizer)->Decode(*ids, /*skip_special=*/false),
                test_case["decoded"]);
    }
  }
}

// A file that loads; tests break one field of it.
json TinyFile() {
  return json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3},
              "merges": [["a", "b"]]}})");
}

void ExpectRefused(const json& file, absl::StatusCode code,
                   const std::string& message) {
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "");
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr(message));
}

TEST(FromJson, LoadsTheTinyFile) {
  EXPECT_TRUE(Tokenizer::FromJson(TinyFile().dump(), "").ok());
}

TEST(FromJson, RefusesUnknownComponentsByName) {
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  for (const char* field : {"normalizer", "pre_tokenizer", "post_processor"}) {
    json file = TinyFile();
    file[field] = {{"type", "Martian"}};
    ExpectRefused(file, unimplemented,
                  std::string(field) + " Martian is not supported");
  }
  json file = TinyFile();
  file["decoder"] = nullptr;
  ExpectRefused(file, unimplemented, "decoder null");
  file["decoder"] = json::parse(
      R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
          {"type": "ByteFallback"}]})");
  ExpectRefused(file, unimplemented, "decoder Sequence in this order");
  file = TinyFile();
  file["model"]["type"] = "WordPiece";
  ExpectRefused(file, unimplemented, "model WordPiece");
  file = TinyFile();
  file["model"]["dropout"] = 0.1;
  ExpectRefused(file, unimplemented, "dropout");
  file = TinyFile();
  file["model"]["end_of_word_suffix"] = "</w>";
  ExpectRefused(file, unimplemented, "end_of_word_suffix");
}

TEST(FromJson, RefusesContradictionsAndNamesThem) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  json file = TinyFile();
  file["model"]["vocab"]["b"] = 0;
  ExpectRefused(file, invalid, "share the id 0");
  file = TinyFile();
  file["model"]["vocab"]["b"] = -1;
  ExpectRefused(file, invalid, "token 'b' has the id -1");
  file = TinyFile();
  file["model"]["vocab"]["b"] = 18446744073709551615u;
  ExpectRefused(file, invalid, "token 'b' has the id");
  file = TinyFile();
  file["model"]["vocab"]["b"] = "1";
  ExpectRefused(file, invalid, "the id of token 'b' is not an integer");
  file = TinyFile();
  file["added_tokens"][0]["id"] = 1;
  ExpectRefused(file, invalid, "tokens 'b' and '<s>' share the id 1");
  file = TinyFile();
  file["model"]["merges"] = json::parse(R"([["a", "b"], ["a", "z"]])");
  ExpectRefused(file, invalid, "merge 1, 'a' and 'z'");
  file = TinyFile();
  file["model"]["merges"] = {"a b c"};
  ExpectRefused(file, invalid, "merge 0 is not two tokens");
  file = TinyFile();
  file["model"]["unk_token"] = "<unk>";
  ExpectRefused(file, invalid, "unk_token '<unk>' is not in the vocabulary");
  file = TinyFile();
  file["model"].erase("vocab");
  ExpectRefused(file, invalid, "'vocab' must be an object");
  file = TinyFile();
  file["model"]["byte_fallback"] = "yes";
  ExpectRefused(file, invalid,
                "field 'byte_fallback' must be a boolean, not string");
  file = TinyFile();
  file["post_processor"] = json::parse(
      R"({"type": "TemplateProcessing",
          "single": [{"SpecialToken": {"id": "x"}}],
          "special_tokens": {"x": {"ids": [99]}}})");
  ExpectRefused(file, invalid, "adds the unknown token 99");
  EXPECT_EQ(Tokenizer::FromJson("{", "").status().code(), invalid);
  EXPECT_EQ(Tokenizer::FromJson(std::string(100'000, '['), "").status().code(),
            invalid);
}

TEST(FromJson, NoMergeMakesMarkup) {
  json file = TinyFile();
  file["added_tokens"][0] = {{"id", 3}, {"content", "ab"}, {"special", true}};
  const auto tokenizer = Tokenizer::FromJson(file.dump(), "");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode("abc", {});
  ASSERT_TRUE(ids.ok());
  EXPECT_THAT(*ids, ElementsAre(0, 1, 2));
}

TEST(FromJson, AddBosTokenInTheConfigOverridesThePostProcessor) {
  const std::string file = TinyFile().dump();
  const auto encode = [&](const std::string& config) {
    const auto tokenizer = Tokenizer::FromJson(file, config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *(*tokenizer)->Encode("a", {.add_special = true});
  };
  EXPECT_THAT(encode(R"({"bos_token": "<s>"})"), ElementsAre(0));
  EXPECT_THAT(encode(R"({"bos_token": "<s>", "add_bos_token": true})"),
              ElementsAre(4, 0));
  EXPECT_THAT(encode(R"({"eos_token": {"content": "<s>"},
                         "add_eos_token": true})"),
              ElementsAre(0, 4));
}

INSTANTIATE_TEST_SUITE_P(Golden, Family,
                         ::testing::ValuesIn(mla::testing::kFamilies),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mla::runtime

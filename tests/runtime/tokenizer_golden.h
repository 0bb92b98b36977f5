// The checks of tokenizer goldens (encode.jsonl, decode.jsonl) that tests of
// both sources of a tokenizer, tokenizer.json and GGUF, share.
#ifndef MLA_TESTS_RUNTIME_TOKENIZER_GOLDEN_H_
#define MLA_TESTS_RUNTIME_TOKENIZER_GOLDEN_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/tokenizer/detokenizer.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/support/golden_files.h"

namespace mla::testing {

inline constexpr const char* kFamilies[] = {
    "gpt2digits", "llama3", "qwen2", "deepseek_v3", "deepseek_llm", "llama2"};

inline std::filesystem::path FamilyDir(const std::string& family) {
  return GoldenDir() / "tokenizers" / family;
}

// SmolLM2's vocabulary is committed in the short form that it can be rebuilt
// from: each of its tokens is a control token, one character, or made by one
// merge, in that order.
inline runtime::GgufVocab SmolLm2Vocab() {
  constexpr int32_t kNormalType = 1, kControlType = 3;
  const auto file = nlohmann::json::parse(
      ReadFile(CommittedGoldenDir() / "tokenizers/smollm2_vocab.json"));
  runtime::GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "smollm";
  for (const std::string text : file["control"]) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(kControlType);
  }
  for (const std::string text : file["alphabet"]) vocab.tokens.push_back(text);
  for (const std::string merge : file["merges"]) {
    vocab.merges.push_back(merge);
    std::string merged = merge;
    merged.erase(merged.find(' '), 1);
    vocab.tokens.push_back(merged);
  }
  vocab.types.resize(vocab.tokens.size(), kNormalType);
  vocab.bos_id = 1;
  vocab.eos_id = 2;
  vocab.add_bos = false;
  return vocab;
}

inline void ExpectEncodes(const runtime::Tokenizer& tokenizer,
                          const std::filesystem::path& rows) {
  for (const auto& row : ReadJsonLines(rows)) {
    const std::string text = row["text"];
    const auto ids =
        tokenizer.Encode(text, {.add_special = false, .parse_special = true});
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, row["ids"].get<std::vector<int32_t>>()) << row["text"];
    if (!row.contains("ids_with_special")) continue;
    const auto with_special =
        tokenizer.Encode(text, {.add_special = true, .parse_special = true});
    ASSERT_TRUE(with_special.ok()) << with_special.status();
    EXPECT_EQ(*with_special,
              row["ids_with_special"].get<std::vector<int32_t>>())
        << row["text"];
  }
}

inline void ExpectDecodes(const runtime::Tokenizer& tokenizer,
                          const std::filesystem::path& rows) {
  for (const auto& row : ReadJsonLines(rows)) {
    const auto ids = row["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/false), row["text"]);
    EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/true),
              row["text_skip_special"]);
    for (size_t n = 1; n <= ids.size(); ++n) {
      EXPECT_EQ(tokenizer.Decode(absl::MakeConstSpan(ids).first(n),
                                 /*skip_special=*/false),
                row["prefixes"][n - 1])
          << row["ids"] << " up to " << n;
    }
  }
}

}  // namespace mla::testing

#endif  // MLA_TESTS_RUNTIME_TOKENIZER_GOLDEN_H_

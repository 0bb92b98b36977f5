// Any bytes as text, and as ids, for tokenizers of every kind. What must hold:
// ill-formed text is refused; streamed text is what Decode returns, valid at
// every step; markup never comes out of text that is not trusted.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/detokenizer.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/utf8.h"

namespace {

using ::mla::runtime::Detokenizer;
using ::mla::runtime::GgufVocab;
using ::mla::runtime::Tokenizer;

constexpr int32_t kNormal = 1, kControl = 3, kByte = 6;
constexpr const char* kMarkup[] = {"<s>", "</s>", "<|im_end|>"};

void Require(bool holds) {
  if (!holds) std::abort();
}

GgufVocab VocabWithMarkup(const char* model, const char* pre) {
  GgufVocab vocab;
  vocab.model = model;
  vocab.pre = pre;
  for (const char* text : kMarkup) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(kControl);
  }
  vocab.bos_id = 0;
  vocab.eos_id = 1;
  return vocab;
}

void AddMerge(const std::string& left, const std::string& right,
              GgufVocab* vocab) {
  vocab->merges.push_back(left + " " + right);
  vocab->tokens.push_back(left + right);
  vocab->types.push_back(kNormal);
}

std::unique_ptr<Tokenizer> ByteLevel(const char* pre) {
  GgufVocab vocab = VocabWithMarkup("gpt2", pre);
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.emplace_back(mla::runtime::ByteLevelCharacter(byte));
    vocab.types.push_back(kNormal);
  }
  AddMerge("a", "a", &vocab);
  AddMerge("aa", "aa", &vocab);
  AddMerge("<", "s", &vocab);
  AddMerge("Ġ", "Ġ", &vocab);
  AddMerge("Ċ", "Ċ", &vocab);
  auto tokenizer = Tokenizer::FromGguf(vocab);
  Require(tokenizer.ok());
  return *std::move(tokenizer);
}

std::unique_ptr<Tokenizer> SentencePiece() {
  GgufVocab vocab = VocabWithMarkup("llama", "");
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(std::string("<0x") + digits[byte >> 4] +
                           digits[byte & 15] + ">");
    vocab.types.push_back(kByte);
  }
  for (const char* text : {"a", "<", "s", ">", "\u2581", "\u2581\u2581", "aa",
                           "aaa", "<s", "s>", "\u00e9"}) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(kNormal);
  }
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    vocab.scores.push_back(-static_cast<float>(id % 7));
  }
  auto tokenizer = Tokenizer::FromGguf(vocab);
  Require(tokenizer.ok());
  return *std::move(tokenizer);
}

const std::vector<std::unique_ptr<Tokenizer>>& Tokenizers() {
  static const auto* const tokenizers = [] {
    auto* all = new std::vector<std::unique_ptr<Tokenizer>>;
    for (const char* pre : {"default", "gpt-2", "smollm", "llama-bpe", "qwen2",
                            "deepseek-llm", "deepseek-v3"}) {
      all->push_back(ByteLevel(pre));
    }
    all->push_back(SentencePiece());
    return all;
  }();
  return *tokenizers;
}

void CheckStreaming(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                    bool skip_special) {
  Detokenizer detokenizer(&tokenizer, skip_special);
  std::string streamed;
  const auto take = [&](const std::string& piece) {
    Require(mla::runtime::FindInvalidUtf8(piece) == std::string::npos);
    streamed += piece;
  };
  for (const int32_t id : ids) take(detokenizer.Append(id));
  take(detokenizer.Finish());
  Require(streamed == tokenizer.Decode(ids, skip_special));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Tokenizer& tokenizer = *Tokenizers()[data[0] % Tokenizers().size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  const auto ids =
      tokenizer.Encode(text, {.add_special = false, .parse_special = false});
  const bool valid =
      mla::runtime::FindInvalidUtf8(text) == std::string_view::npos;
  Require(ids.ok() == valid);
  if (ids.ok()) {
    for (const int32_t id : *ids) Require(!tokenizer.IsSpecial(id));
    CheckStreaming(tokenizer, *ids, /*skip_special=*/false);
  }
  std::vector<int32_t> raw_ids;
  for (size_t i = 1; i + 1 < size; i += 2) {
    raw_ids.push_back((data[i] << 8 | data[i + 1]) % 300 - 1);
  }
  CheckStreaming(tokenizer, raw_ids, /*skip_special=*/false);
  CheckStreaming(tokenizer, raw_ids, /*skip_special=*/true);
  return 0;
}

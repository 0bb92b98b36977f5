// The golden tokenizers as GGUF files would hold them.
#ifndef MLA_TESTS_RUNTIME_FAMILY_VOCAB_H_
#define MLA_TESTS_RUNTIME_FAMILY_VOCAB_H_

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/tokenizer/gguf_tokens.h"
#include "runtime/tokenizer/gguf_vocab.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::testing {

// SentencePiece has scores where tokenizer.json has merges: a token that an
// earlier merge makes has the higher score.
inline void MergesToScores(runtime::GgufVocab* vocab) {
  vocab->scores.assign(vocab->tokens.size(), -1e9f);
  for (size_t rank = 0; rank < vocab->merges.size(); ++rank) {
    std::string merged = vocab->merges[rank];
    merged.erase(merged.find(' '), 1);
    const auto it =
        std::find(vocab->tokens.begin(), vocab->tokens.end(), merged);
    float& score = vocab->scores[it - vocab->tokens.begin()];
    score = std::max(score, -static_cast<float>(rank));
  }
  vocab->merges.clear();
}

// What a converter to GGUF would write for a family's tokenizer.json.
inline runtime::GgufVocab FamilyVocab(const std::string& family) {
  using runtime::GgufTokenType;
  static const std::map<std::string, std::string> kPre = {
      {"gpt2digits", "smollm"},
      {"llama3", "llama-bpe"},
      {"qwen2", "qwen2"},
      {"deepseek_v3", "deepseek-v3"},
      {"deepseek_llm", "deepseek-llm"}};
  const auto read = [&](const char* name) {
    return nlohmann::json::parse(ReadFile(FamilyDir(family) / name));
  };
  const auto set_type = [](int32_t* out, GgufTokenType type) {
    *out = static_cast<int32_t>(type);
  };
  const nlohmann::json file = read("tokenizer.json");
  runtime::GgufVocab vocab;
  vocab.model = family == "llama2" ? "llama" : "gpt2";
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
  vocab.types.resize(tokens.size());
  for (int32_t& type : vocab.types) set_type(&type, GgufTokenType::kNormal);
  for (const auto& token : file["added_tokens"]) {
    set_type(&vocab.types[token["id"]], token["special"]
                                            ? GgufTokenType::kControl
                                            : GgufTokenType::kUserDefined);
  }
  for (const auto& merge : file["model"]["merges"]) {
    vocab.merges.push_back(merge[0].get<std::string>() + " " +
                           merge[1].get<std::string>());
  }
  if (vocab.model == "llama") {
    MergesToScores(&vocab);
    set_type(&vocab.types[0], GgufTokenType::kUnknown);
    for (size_t id = 0; id < vocab.tokens.size(); ++id) {
      if (vocab.tokens[id].starts_with("<0x")) {
        set_type(&vocab.types[id], GgufTokenType::kByte);
      }
    }
  } else {
    vocab.pre = kPre.at(family);
  }
  const nlohmann::json config = read("tokenizer_config.json");
  const auto id_of = [&](const nlohmann::json& text) {
    std::optional<uint32_t> id;
    if (text.is_null()) return id;
    id = std::find(vocab.tokens.begin(), vocab.tokens.end(), text) -
         vocab.tokens.begin();
    return id;
  };
  vocab.bos_id = id_of(config["bos_token"]);
  vocab.eos_id = id_of(config["eos_token"]);
  vocab.unk_id = id_of(config["unk_token"]);
  vocab.pad_id = id_of(config["pad_token"]);
  vocab.add_bos = config["add_bos_token"];
  return vocab;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_RUNTIME_FAMILY_VOCAB_H_

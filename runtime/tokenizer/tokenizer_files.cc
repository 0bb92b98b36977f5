// Tested by tests/runtime/tokenizer_files_test.cc and
// tests/e2e/hf_writer_test.py.
#include "runtime/tokenizer/tokenizer_files.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/gguf_tokens.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_json_writer.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

// A token is named by its text in these files; a hole has none.
absl::Status CheckNamedTokens(const Tokenizer& tokenizer) {
  for (const auto& [name, text] : tokenizer.named_tokens()) {
    if (!text.empty()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the ", name, " is a token without a text"));
  }
  return absl::OkStatus();
}

// As Python's json.dumps(indent=2, sort_keys=True) would.
std::string ToText(const json& file) {
  return absl::StrCat(file.dump(2), "\n");
}

std::string TokenizerConfig(const Tokenizer& tokenizer,
                            std::string_view chat_template) {
  json config = {{"add_bos_token", !tokenizer.prefix().empty()},
                 {"add_eos_token", !tokenizer.suffix().empty()},
                 {"clean_up_tokenization_spaces", false},
                 {"tokenizer_class", "PreTrainedTokenizerFast"}};
  for (const auto& [name, text] : tokenizer.named_tokens()) config[name] = text;
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  return ToText(config);
}

std::string GenerationConfig(const GgufVocab& gguf,
                             const Tokenizer& tokenizer) {
  json config = json::object();
  if (gguf.bos_id.has_value()) config["bos_token_id"] = *gguf.bos_id;
  if (gguf.pad_id.has_value()) config["pad_token_id"] = *gguf.pad_id;
  const auto& eos = tokenizer.eos_ids();
  if (eos.size() == 1) config["eos_token_id"] = eos[0];
  if (eos.size() > 1) config["eos_token_id"] = eos;
  return ToText(config);
}

}  // namespace

absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(
    const GgufVocab& gguf, std::string_view chat_template) {
  if (FindInvalidUtf8(chat_template) != std::string_view::npos) {
    return absl::InvalidArgumentError(
        "tokenizer.chat_template is not valid UTF-8");
  }
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromGguf(gguf));
  RETURN_IF_ERROR(CheckNamedTokens(*tokenizer));
  ASSIGN_OR_RETURN(const auto merges,
                   GgufMerges(gguf, tokenizer->vocabulary()));
  TokenizerFiles files;
  ASSIGN_OR_RETURN(files.tokenizer_json,
                   TokenizerJsonFromGguf(gguf, *tokenizer, merges));
  files.tokenizer_config_json = TokenizerConfig(*tokenizer, chat_template);
  files.generation_config_json = GenerationConfig(gguf, *tokenizer);
  if (const size_t ties = CountTies(merges); ties > 0) {
    files.warning = absl::StrCat(
        ties, " tokens have the score of another; where two of them compete, ",
        "tokenizer.json takes the one of lower id, the GGUF the leftmost");
  }
  return files;
}

absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(
    const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const GgufVocab vocab, ReadGgufVocab(metadata));
  std::string_view chat_template;
  if (metadata.Has("tokenizer.chat_template")) {
    ASSIGN_OR_RETURN(chat_template,
                     metadata.GetString("tokenizer.chat_template"));
  }
  return TokenizerFilesFromGguf(vocab, chat_template);
}

}  // namespace mla::runtime

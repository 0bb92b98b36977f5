// Tested by tests/runtime/loaded_model_test.cc.
#include "runtime/text_model.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/gguf_vocab.h"

namespace mla::runtime {
namespace {

absl::StatusOr<std::unique_ptr<const ChatTemplate>> ParseTemplate(
    const absl::StatusOr<std::string>& source, const Tokenizer& tokenizer) {
  RETURN_IF_ERROR(source.status());
  ASSIGN_OR_RETURN(std::unique_ptr<ChatTemplate> parsed,
                   ChatTemplate::Parse(*source, tokenizer.named_tokens()));
  return std::unique_ptr<const ChatTemplate>(std::move(parsed));
}

// "" when there is no such file.
absl::StatusOr<std::string> ReadOptional(const ReadFile& read,
                                         const std::string& file) {
  absl::StatusOr<std::string> text = read(file);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

}  // namespace

absl::StatusOr<TextModel> TextModelFromGguf(const GgufMetadata& metadata) {
  TextModel model;
  ASSIGN_OR_RETURN(const GgufVocab vocab, ReadGgufVocab(metadata));
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::FromGguf(vocab));
  absl::StatusOr<std::string> source;
  if (const auto text = metadata.GetString("tokenizer.chat_template");
      text.ok()) {
    source = std::string(*text);
  } else {
    source = text.status();
  }
  model.chat_template = ParseTemplate(source, *model.tokenizer);
  return model;
}

absl::StatusOr<TextModel> TextModelFromFolder(const ReadFile& read) {
  TextModel model;
  model.chat_template = absl::NotFoundError("the model has no chat template");
  ASSIGN_OR_RETURN(const std::string text,
                   ReadOptional(read, "tokenizer.json"));
  if (text.empty()) return model;
  ASSIGN_OR_RETURN(const std::string config,
                   ReadOptional(read, "tokenizer_config.json"));
  ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::FromJson(text, config));
  // A file of its own goes before the config's field.
  absl::StatusOr<std::string> source = read("chat_template.jinja");
  if (absl::IsNotFound(source.status()) && !config.empty()) {
    source = FindChatTemplate(config);
  }
  model.chat_template = ParseTemplate(source, *model.tokenizer);
  return model;
}

absl::StatusOr<TextModel> LoadTextModel(const std::string& path) {
  if (absl::EndsWith(path, ".gguf")) {
    ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path));
    return TextModelFromGguf(*checkpoint->gguf());
  }
  return TextModelFromFolder(
      [&](const std::string& file) -> absl::StatusOr<std::string> {
        std::ifstream in(absl::StrCat(path, "/", file), std::ios::binary);
        if (!in) return absl::NotFoundError(absl::StrCat("no ", file));
        return std::string(std::istreambuf_iterator<char>(in), {});
      });
}

}  // namespace mla::runtime

// TextModel: what turns a model's text into tokens and back, without weights:
// the tokenizer and the chat template that came along.
// Threads: immutable; any.
#ifndef MLA_RUNTIME_TEXT_MODEL_H_
#define MLA_RUNTIME_TEXT_MODEL_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/chat/chat_template.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

struct TextModel {
  std::unique_ptr<Tokenizer> tokenizer;  // null: none came along
  // NOT_FOUND: none came along. A template that cannot be parsed does not keep
  // the model from serving plain prompts; its status says why.
  absl::StatusOr<std::unique_ptr<const ChatTemplate>> chat_template;
};

absl::StatusOr<TextModel> TextModelFromGguf(const GgufMetadata& metadata);

// `read` returns a file of the model's folder, or NOT_FOUND.
using ReadFile = std::function<absl::StatusOr<std::string>(const std::string&)>;
absl::StatusOr<TextModel> TextModelFromFolder(const ReadFile& read);

// `path`: a .gguf file, or a folder with a tokenizer.json.
absl::StatusOr<TextModel> LoadTextModel(const std::string& path);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TEXT_MODEL_H_

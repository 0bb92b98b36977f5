// TokenizerFilesFromGguf makes the files of a Hugging Face folder that turn
// text into ids and back, from what a GGUF file says about its tokenizer. Read
// again by Tokenizer::FromJson, or by Python's tokenizers and transformers,
// they give the ids that the GGUF gives. Threads: any; pure functions. Errors:
// those of Tokenizer::FromGguf and TokenizerJsonFromGguf;
//          INVALID_ARGUMENT for a named token without a text or a chat template
//          that is not UTF-8.
#ifndef MLA_RUNTIME_TOKENIZER_TOKENIZER_FILES_H_
#define MLA_RUNTIME_TOKENIZER_TOKENIZER_FILES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/tokenizer/gguf_vocab.h"

namespace mla::runtime {

// The texts of the files of these names.
struct TokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string generation_config_json;  // the named tokens' ids only
  // What a user should know of that the files cannot say; "" nearly always.
  std::string warning;
};

// `chat_template`: "" for none.
absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(
    const GgufVocab& gguf, std::string_view chat_template);

// The same with both read from the metadata.
absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(
    const GgufMetadata& metadata);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_TOKENIZER_FILES_H_

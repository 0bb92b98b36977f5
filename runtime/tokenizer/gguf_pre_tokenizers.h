// The pre-tokenizers that GGUF files name in tokenizer.ggml.pre.
// GGUF stores a name, not the patterns: this table holds the patterns of the
// models that published them.
// Threads: any. Errors: Unimplemented for a name that is not in the table.
#ifndef MLA_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZERS_H_
#define MLA_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZERS_H_

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mla::runtime {

struct GgufPreTokenizer {
  std::string_view name;
  std::vector<const char*> patterns;  // applied one after the other, isolated
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};

absl::StatusOr<const GgufPreTokenizer*> FindGgufPreTokenizer(
    std::string_view name);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_GGUF_PRE_TOKENIZERS_H_

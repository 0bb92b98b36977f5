// GgufVocab is what a GGUF file says about its tokenizer: the tokenizer.ggml.*
// keys. A plain value. Source: github.com/ggml-org/ggml, docs/gguf.md.
// Threads: any.
// Errors:  ReadGgufVocab passes on those of the metadata's getters, which name
//          the key. Tokenizer::FromGguf checks what the values mean.
#ifndef MLA_RUNTIME_TOKENIZER_GGUF_VOCAB_H_
#define MLA_RUNTIME_TOKENIZER_GGUF_VOCAB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf_metadata.h"

namespace mla::runtime {

struct GgufVocab {
  std::string model;  // "gpt2" or "llama"
  std::string pre;    // which pre-tokenizer; "" as "default"
  std::vector<std::string> tokens;
  std::vector<float> scores;        // model "llama": one for each token
  std::vector<int32_t> types;       // one for each token, or none
  std::vector<std::string> merges;  // model "gpt2": "left right"
  std::optional<uint32_t> bos_id, eos_id, eot_id, eom_id, unk_id, pad_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

absl::StatusOr<GgufVocab> ReadGgufVocab(const GgufMetadata& metadata);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_GGUF_VOCAB_H_

// What the tokens of a GgufVocab are for, and the merges that make them: one
// reading for Tokenizer::FromGguf, which encodes with it, and for
// TokenizerJsonFromGguf, which writes it down.
// Threads: any; pure functions.
#ifndef MLA_RUNTIME_TOKENIZER_GGUF_TOKENS_H_
#define MLA_RUNTIME_TOKENIZER_GGUF_TOKENS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/tokenizer/gguf_vocab.h"
#include "runtime/tokenizer/vocabulary.h"

namespace mla::runtime {

enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kByte = 6,
};

// kNormal where the file gives no types; may be a number not named above.
GgufTokenType TypeOf(const GgufVocab& gguf, size_t id);

// Whether it is looked for in the text as given, before any spelling.
bool IsAdded(GgufTokenType type);

// Whether token `id` may come out of spelling or merging a client's text:
// markup may not, so that no merge can make a client's text into markup.
bool CanSpell(const GgufVocab& gguf, size_t id);

// `left` followed by `right` becomes `merged`, the lowest rank first.
struct GgufMerge {
  int32_t left;
  int32_t right;
  int32_t merged;
  int32_t rank;  // ascending; equal only for merges made from equal scores
};

// Those that spell. Model "gpt2": as listed. Model "llama": from the scores,
// one for each token. INVALID_ARGUMENT, naming the merge, if one is malformed.
absl::StatusOr<std::vector<GgufMerge>> GgufMerges(const GgufVocab& gguf,
                                                  const Vocabulary& vocabulary);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_GGUF_TOKENS_H_

// TokenizerJsonFromGguf writes a GGUF file's tokenizer as the text of a
// tokenizer.json that gives the same ids, and the same texts of ids, as the
// GGUF does. It is what Hugging Face's tokenizers library writes, to the byte.
//
// One thing cannot be said there: SentencePiece merges pairs of equal score
// from left to right, a list of merges has no equals (see CountTies). Threads:
// any; pure functions. Errors:  UNIMPLEMENTED, naming the token, for byte
// tokens that the library
//          would take otherwise than the GGUF means them.
#ifndef MLA_RUNTIME_TOKENIZER_TOKENIZER_JSON_WRITER_H_
#define MLA_RUNTIME_TOKENIZER_TOKENIZER_JSON_WRITER_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/tokenizer/gguf_tokens.h"
#include "runtime/tokenizer/gguf_vocab.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

// `tokenizer` is what FromGguf made of `gguf`, and `merges` are GgufMerges'.
absl::StatusOr<std::string> TokenizerJsonFromGguf(
    const GgufVocab& gguf, const Tokenizer& tokenizer,
    absl::Span<const GgufMerge> merges);

// How many tokens share their rank with another. Where two of them could be
// made of one text, the files' ids may differ from the GGUF's.
size_t CountTies(absl::Span<const GgufMerge> merges);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_TOKENIZER_JSON_WRITER_H_

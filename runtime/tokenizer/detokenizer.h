// Detokenizer turns a stream of token ids into a stream of text.
//
// Every piece it returns is valid UTF-8, and the pieces together are what
// Tokenizer::Decode returns for all the ids: Decode is this class. Bytes that
// may yet become a character are held back; bytes that cannot are U+FFFD.
// In a byte-fallback vocabulary a row of byte tokens is held until it ends,
// because Hugging Face replaces the whole row if any byte of it is ill-formed.
//
// Owns:    the bytes held back. The tokenizer must outlive it.
// Threads: one.
// Errors:  none; unknown ids add nothing.
// Flow:    Sampler -> [here] -> stop strings, stream
#ifndef MLA_RUNTIME_TOKENIZER_DETOKENIZER_H_
#define MLA_RUNTIME_TOKENIZER_DETOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

class Detokenizer {
 public:
  Detokenizer(const Tokenizer* tokenizer, bool skip_special);

  // The text that has become certain with this token, often all of it.
  std::string Append(int32_t id);
  // The rest, when no token follows.
  std::string Finish();

 private:
  void Emit(std::string_view text, std::string* out);
  void EmitByteRow(std::string* out);

  const Tokenizer* tokenizer_;
  bool skip_special_;
  int strips_left_;
  std::string held_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_DETOKENIZER_H_

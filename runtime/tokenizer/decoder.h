// Decoder holds what each token contributes to decoded text.
//
// Byte-level vocabularies: a token is bytes, and any byte may be part of a
// character that other tokens complete. Others: a token is text, except that
// tokens "<0x0A>" may stand for single bytes ("byte fallback").
//
// Owns:    the decoded bytes of every token.
// Threads: any, once built.
// Source:  Hugging Face tokenizers' decoders ByteLevel, and the sequence
//          Replace, ByteFallback, Fuse, Strip.
// Flow:    Tokenizer -> [here] -> Detokenizer
#ifndef MLA_RUNTIME_TOKENIZER_DECODER_H_
#define MLA_RUNTIME_TOKENIZER_DECODER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/vocabulary.h"

namespace mla::runtime {

struct DecoderRules {
  bool byte_level = false;
  // The rest is for vocabularies that are not byte-level.
  std::vector<std::pair<std::string, std::string>> replacements;
  bool byte_fallback = false;
  // At most `strip_count` of these are removed from the start of the text.
  std::string strip;
  int strip_count = 0;
};

// The byte that a token such as "<0x0A>" stands for.
std::optional<uint8_t> ParseByteToken(std::string_view token);

class Decoder {
 public:
  Decoder(DecoderRules rules, const Vocabulary& vocabulary);

  const DecoderRules& rules() const { return rules_; }

  struct Token {
    std::string bytes;
    bool is_byte = false;  // a byte-fallback token
  };
  // Empty for ids outside the vocabulary: models are often padded beyond it.
  const Token& Get(int32_t id) const;

 private:
  Token Decode(std::string_view text) const;

  DecoderRules rules_;
  std::vector<Token> tokens_;  // [vocabulary size]
  Token none_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_DECODER_H_

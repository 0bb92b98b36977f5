// The byte-level alphabet: GPT-2's one-to-one map between the 256 bytes and 256
// printable characters, in which byte-level vocabularies spell their tokens.
// Threads: any. Source: GPT-2's bytes_to_unicode(): printable Latin-1 bytes
// stand for themselves, the others for U+0100, U+0101, ... in order.
#ifndef MLA_RUNTIME_TOKENIZER_BYTE_LEVEL_H_
#define MLA_RUNTIME_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mla::runtime {

// The character that spells `byte`, in UTF-8.
std::string_view ByteLevelCharacter(uint8_t byte);

// The bytes that `token` spells, or nothing if one of its characters is outside
// the alphabet.
std::optional<std::string> ByteLevelToBytes(std::string_view token);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_BYTE_LEVEL_H_

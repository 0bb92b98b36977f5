// UTF-8 by hand: validation, single characters, and lossy decoding.
// Threads: any; pure functions. Units: byte offsets.
// Source: The Unicode Standard, section 3.9, table 3-7 (well-formed sequences)
// and "U+FFFD substitution of maximal subparts", which is also what Rust's
// String::from_utf8_lossy and so Hugging Face's decoders do.
#ifndef MLA_RUNTIME_UTF8_H_
#define MLA_RUNTIME_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace mla::runtime {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

struct Utf8Prefix {
  enum Kind {
    kCharacter,   // the first `length` bytes are one character
    kInvalid,     // the first `length` bytes can never become one
    kIncomplete,  // all `length` bytes left begin a character
  };
  Kind kind;
  size_t length;
};

// What the start of a non-empty text is.
Utf8Prefix ClassifyUtf8(std::string_view bytes);

// Offset of the first ill-formed byte, or npos.
size_t FindInvalidUtf8(std::string_view text);

// The character at `pos` of a valid text; advances `pos` past it.
char32_t NextCharacter(std::string_view valid_text, size_t* pos);

void AppendUtf8(char32_t character, std::string* out);

// Appends `bytes` to `out` with U+FFFD for each maximal ill-formed part and
// returns how many bytes were used: all of them, less a last incomplete
// character, which stays unused because more bytes may complete it.
size_t AppendLossyUtf8(std::string_view bytes, std::string* out);

// The number of characters of a valid text.
size_t CountCharacters(std::string_view valid_text);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_UTF8_H_

// The few Unicode character classes that tokenizers and templates ask about.
// Threads: any; pure functions.
#ifndef MLA_RUNTIME_UNICODE_H_
#define MLA_RUNTIME_UNICODE_H_

namespace mla::runtime {

// The White_Space property (what Rust's char::is_whitespace tests).
bool IsWhiteSpace(char32_t c);

// \w: letters, marks, decimal digits and connector punctuation.
bool IsWordCharacter(char32_t c);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_UNICODE_H_

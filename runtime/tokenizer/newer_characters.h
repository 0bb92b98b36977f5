// The characters of Unicode 15 and 16, by general category. Debian bookworm's
// PCRE2 knows Unicode 14, Hugging Face's Oniguruma knows 16; without this, an
// emoji of 2022 would split words where it must not.
// Threads: any; constants.
// Source: DerivedGeneralCategory.txt of Unicode 16.0 less that of 14.0.
#ifndef MLA_RUNTIME_TOKENIZER_NEWER_CHARACTERS_H_
#define MLA_RUNTIME_TOKENIZER_NEWER_CHARACTERS_H_

#include <string>
#include <string_view>

namespace mla::runtime {

// The newer members of a category (L, M, N, P, S) as they stand inside [];
// empty for other categories.
const std::string& NewerMembers(std::string_view category);

// Whether any of them is in the text.
bool HasNewerCharacter(std::string_view valid_text);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_NEWER_CHARACTERS_H_

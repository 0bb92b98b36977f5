// AddedTokens finds tokens written out in text: "<|im_end|>" and the like.
// The longest token wins at each position, from left to right, as in Hugging
// Face's AddedVocabulary.
//
// Some are markup: they delimit roles and turns, and a client that could write
// them inside a message could forge a turn. Markup is recognised only inside
// the ranges that the caller trusts. Tokens of nothing but white space are not
// markup, and are recognised everywhere. The `special` flag does not decide
// this: DeepSeek V3's <|User|> is an added token that is not `special`.
//
// Threads: any, once built. Units: byte offsets.
#ifndef MLA_RUNTIME_TOKENIZER_ADDED_TOKENS_H_
#define MLA_RUNTIME_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "runtime/text_range.h"

namespace mla::runtime {

struct AddedToken {
  int32_t id = 0;
  std::string text;
  bool special = false;      // dropped by a decoder that skips special tokens
  bool normalized = false;   // looked for in normalized text
  bool single_word = false;  // not next to a letter, digit or underscore
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // ... and after it
};

// Nothing but white space.
bool IsBlank(std::string_view text);

inline bool IsMarkup(const AddedToken& token) {
  return token.special || !IsBlank(token.text);
}

class AddedTokens {
 public:
  // Tokens with an empty text are ignored.
  void Add(AddedToken token);

  struct Match {
    int32_t id;
    TextRange range;
  };
  // Appends the tokens found in `text`, in order, without overlaps. `trusted`:
  // sorted disjoint ranges of `text`.
  void FindAll(std::string_view text, absl::Span<const TextRange> trusted,
               std::vector<Match>* matches) const;

 private:
  // A trie over bytes. Node 0 is the root.
  struct Node {
    int32_t token = -1;  // index into tokens_
  };
  const AddedToken* LongestAt(std::string_view text, size_t pos,
                              size_t trusted_until) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = {{}};
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
  std::array<bool, 256> starts_token_ = {};
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_ADDED_TOKENS_H_

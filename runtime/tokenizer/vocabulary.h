// Vocabulary is the two-way table between token ids and token texts.
//
// Owns:    the texts; views into them live as long as the vocabulary.
// Threads: any, once built.
// Units:   ids run from 0 to size() - 1; ids without a token (some published
//          vocabularies have holes) have the empty text.
// Errors:  InvalidArgument from Add, naming the token and the id.
#ifndef MLA_RUNTIME_TOKENIZER_VOCABULARY_H_
#define MLA_RUNTIME_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

namespace mla::runtime {

class Vocabulary {
 public:
  static constexpr int64_t kMaxTokens = int64_t{1} << 22;

  // A text and an id can each be given once.
  absl::Status Add(std::string text, int64_t id);

  int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  bool Has(int64_t id) const;
  // Empty for an id that Has() not.
  std::string_view Text(int64_t id) const;
  std::optional<int32_t> Find(std::string_view text) const;

 private:
  std::deque<std::string> texts_;  // [size()]; a deque keeps views valid
  absl::flat_hash_map<std::string_view, int32_t> ids_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_VOCABULARY_H_

// BpeModel turns one word into token ids by byte-pair encoding: start from the
// word's characters, then apply the best-ranked merge, again and again.
//
// A word may be a whole prompt (SentencePiece-style models do not split text),
// so merging is O(n log n): a linked list of symbols and a heap of candidates.
//
// Threads: any, once built.
// Errors:  none; a character that the vocabulary cannot spell becomes the
//          unknown token or, without one, is dropped (as in Hugging Face).
#ifndef MLA_RUNTIME_TOKENIZER_BPE_H_
#define MLA_RUNTIME_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace mla::runtime {

class BpeModel {
 public:
  // What to do with a character that is not a token: try the tokens of its
  // bytes, then `unknown`; a row of unknowns is one token if they are fused.
  struct Fallback {
    Fallback() { byte_ids.fill(-1); }
    std::array<int32_t, 256> byte_ids;  // -1: no token for that byte
    std::optional<int32_t> unknown;
    bool fuse_unknown = false;
  };

  explicit BpeModel(Fallback fallback) : fallback_(fallback) {}

  // `text` must outlive the model.
  void AddToken(std::string_view text, int32_t id) { ids_[text] = id; }
  // `left` followed by `right` becomes `merged`; the lowest rank goes first,
  // the leftmost of equals. The first merge added for a pair counts.
  void AddMerge(int32_t left, int32_t right, int32_t rank, int32_t merged);
  // A word that is a token is taken whole, whatever the merges say.
  void set_ignore_merges(bool value) { ignore_merges_ = value; }

  // Appends the ids of `word`, valid UTF-8.
  void Encode(std::string_view word, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t merged;
  };
  struct Symbol {
    int32_t id;  // -1: merged into the symbol before it
    int32_t previous;
    int32_t next;
  };

  int32_t ByteId(char c) const {
    return fallback_.byte_ids[static_cast<uint8_t>(c)];
  }
  bool CanSpell(std::string_view character) const;
  std::vector<Symbol> Split(std::string_view word) const;
  void MergeAll(std::vector<Symbol>* symbols) const;

  Fallback fallback_;
  bool ignore_merges_ = false;
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // left << 32 | right
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_BPE_H_

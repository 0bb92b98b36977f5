// PrefixCache finds blocks that already hold a prompt's first tokens.
//
// A full block's key is the 128-bit SipHash of its parent's key and its own
// tokens, under a secret key drawn at start, so that equal keys mean equal
// prefixes and no client can aim for a collision. Only blocks of prompt tokens
// are entered: those are computed in one way only, so a hit changes no bit of
// any result.
// Threads: engine thread only.
#ifndef MLA_RUNTIME_PREFIX_CACHE_H_
#define MLA_RUNTIME_PREFIX_CACHE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace mla::runtime {

class PrefixCache {
 public:
  using Key = std::array<uint64_t, 2>;

  PrefixCache();

  // Keys of the prompt's full blocks, first block first. `variant` sets apart
  // prompts whose rows differ although their tokens are the same.
  std::vector<Key> Keys(absl::Span<const int32_t> prompt, int block_tokens,
                        uint64_t variant) const;

  std::optional<int32_t> Find(const Key& key) const;

  // False if another block holds the same content already.
  bool Insert(const Key& key, int32_t block);

  void Erase(int32_t block);

  int size() const { return static_cast<int>(blocks_.size()); }

 private:
  std::array<unsigned char, 16> secret_;
  absl::flat_hash_map<Key, int32_t> blocks_;
  absl::flat_hash_map<int32_t, Key> keys_;  // the inverse
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_PREFIX_CACHE_H_

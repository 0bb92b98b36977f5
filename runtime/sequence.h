// Sequence: the tokens of one choice and where their rows are cached. Plain
// values, written by the Scheduler; the Engine appends sampled tokens.
// Threads: engine thread only.
#ifndef MLA_RUNTIME_SEQUENCE_H_
#define MLA_RUNTIME_SEQUENCE_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/prefix_cache.h"

namespace mla::runtime {

// A token that a step under way draws: its place is known, it is not.
inline constexpr int32_t kAwaited = -1;

struct Sequence {
  uint64_t order = 0;           // of arrival: the earlier one goes first
  std::vector<int32_t> tokens;  // the prompt, then what was generated
  int prompt_tokens = 0;
  // Tokens whose rows are ever wanted: not those of the last that may come.
  int most_rows = std::numeric_limits<int>::max();
  int draw = -1;  // where its step draws the last token, among that step's
  bool long_prompt = false;                   // see Rope::long_above
  std::vector<PrefixCache::Key> prefix_keys;  // of the prompt's full blocks

  std::vector<int32_t> block_table;
  int computed = 0;       // tokens whose rows are in the cache
  int cached_tokens = 0;  // of them, found there when it was first admitted
  int kept_blocks = 0;    // entered into the prefix cache
  int admissions = 0;     // 2 or more: it was preempted

  int size() const { return static_cast<int>(tokens.size()); }
  int pending() const { return std::min(size(), most_rows) - computed; }
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_SEQUENCE_H_

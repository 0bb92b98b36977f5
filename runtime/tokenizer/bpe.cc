// Tested by tests/runtime/bpe_test.cc.
#include "runtime/tokenizer/bpe.h"

#include <queue>
#include <tuple>

#include "absl/algorithm/container.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

// A merge that was possible when it was found; stale once either symbol has
// changed, which shows in what the pair now merges into.
struct Candidate {
  int32_t rank;
  int32_t left;  // index of the symbol
  int32_t merged;

  // std::priority_queue pops the largest.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

}  // namespace

void BpeModel::AddMerge(int32_t left, int32_t right, int32_t rank,
                        int32_t merged) {
  merges_.try_emplace(PairKey(left, right), Merge{rank, merged});
}

void BpeModel::Encode(std::string_view word, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    if (const auto it = ids_.find(word); it != ids_.end()) {
      ids->push_back(it->second);
      return;
    }
  }
  std::vector<Symbol> symbols = Split(word);
  MergeAll(&symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id >= 0) ids->push_back(symbol.id);
  }
}

std::vector<BpeModel::Symbol> BpeModel::Split(std::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  const auto append = [&symbols](int32_t id) {
    const int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, index - 1, index + 1});
  };
  bool after_unknown = false;
  for (size_t pos = 0; pos < word.size();) {
    const size_t begin = pos;
    NextCharacter(word, &pos);
    const std::string_view character = word.substr(begin, pos - begin);
    const auto it = ids_.find(character);
    const bool known = it != ids_.end();
    if (known) {
      append(it->second);
    } else if (CanSpell(character)) {
      for (const char c : character) append(ByteId(c));
    } else if (fallback_.unknown.has_value() &&
               !(fallback_.fuse_unknown && after_unknown)) {
      append(*fallback_.unknown);
    }
    after_unknown = !known && !CanSpell(character);
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

bool BpeModel::CanSpell(std::string_view character) const {
  return absl::c_all_of(character, [this](char c) { return ByteId(c) >= 0; });
}

void BpeModel::MergeAll(std::vector<Symbol>* symbols) const {
  std::priority_queue<Candidate> candidates;
  const auto find = [&](int32_t left) -> const Merge* {
    if (left < 0 || (*symbols)[left].next < 0) return nullptr;
    const Symbol& symbol = (*symbols)[left];
    const auto it =
        merges_.find(PairKey(symbol.id, (*symbols)[symbol.next].id));
    return it == merges_.end() ? nullptr : &it->second;
  };
  const auto consider = [&](int32_t left) {
    if (const Merge* merge = find(left)) {
      candidates.push({merge->rank, left, merge->merged});
    }
  };
  for (size_t i = 0; i + 1 < symbols->size(); ++i) {
    consider(static_cast<int32_t>(i));
  }
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = (*symbols)[best.left];
    if (left.id < 0) continue;
    const Merge* merge = find(best.left);
    if (merge == nullptr || merge->merged != best.merged) continue;
    Symbol& right = (*symbols)[left.next];
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) (*symbols)[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
}

}  // namespace mla::runtime

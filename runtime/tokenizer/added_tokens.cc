// Tested by tests/runtime/added_tokens_test.cc.
#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "runtime/unicode.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

size_t SpaceBefore(std::string_view text, size_t end) {
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    size_t pos = begin;
    if (!IsWhiteSpace(NextCharacter(text, &pos))) break;
    end = begin;
  }
  return end;
}

size_t SpaceAfter(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t pos = begin;
    if (!IsWhiteSpace(NextCharacter(text, &pos))) break;
    begin = pos;
  }
  return begin;
}

bool TouchesWord(std::string_view text, TextRange range) {
  if (range.end < text.size()) {
    size_t pos = range.end;
    if (IsWordCharacter(NextCharacter(text, &pos))) return true;
  }
  if (range.begin == 0) return false;
  size_t pos = range.begin - 1;
  while (pos > 0 && (text[pos] & 0xC0) == 0x80) --pos;
  return IsWordCharacter(NextCharacter(text, &pos));
}

}  // namespace

bool IsBlank(std::string_view text) {
  return SpaceAfter(text, 0) == text.size();
}

void AddedTokens::Add(AddedToken token) {
  if (token.text.empty()) return;
  starts_token_[static_cast<uint8_t>(token.text[0])] = true;
  uint32_t node = 0;
  for (const char c : token.text) {
    const uint64_t edge = uint64_t{node} << 8 | static_cast<uint8_t>(c);
    const auto [it, inserted] = edges_.try_emplace(edge, nodes_.size());
    if (inserted) nodes_.push_back({});
    node = it->second;
  }
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
}

const AddedToken* AddedTokens::LongestAt(std::string_view text, size_t pos,
                                         size_t trusted_until) const {
  const AddedToken* longest = nullptr;
  uint32_t node = 0;
  for (size_t i = pos; i < text.size(); ++i) {
    const auto it =
        edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[i]));
    if (it == edges_.end()) break;
    node = it->second;
    if (nodes_[node].token < 0) continue;
    const AddedToken& token = tokens_[nodes_[node].token];
    if (i < trusted_until || !IsMarkup(token)) longest = &token;
  }
  return longest;
}

void AddedTokens::FindAll(std::string_view text,
                          absl::Span<const TextRange> trusted,
                          std::vector<Match>* matches) const {
  if (tokens_.empty()) return;
  auto range = trusted.begin();
  size_t last_end = 0;
  for (size_t pos = 0; pos < text.size(); ++pos) {
    if (!starts_token_[static_cast<uint8_t>(text[pos])]) continue;
    while (range != trusted.end() && range->end <= pos) ++range;
    const bool inside = range != trusted.end() && range->begin <= pos;
    const AddedToken* token = LongestAt(text, pos, inside ? range->end : 0);
    if (token == nullptr) continue;
    TextRange found{pos, pos + token->text.size()};
    if (!token->single_word || !TouchesWord(text, found)) {
      if (token->lstrip) {
        found.begin = std::max(last_end, SpaceBefore(text, found.begin));
      }
      if (token->rstrip) found.end = SpaceAfter(text, found.end);
      matches->push_back({token->id, found});
      last_end = found.end;
    }
    pos = std::max(last_end, pos + token->text.size()) - 1;
  }
}

}  // namespace mla::runtime

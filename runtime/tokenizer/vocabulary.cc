// Tested by tests/runtime/vocabulary_test.cc.
#include "runtime/tokenizer/vocabulary.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/quote.h"

namespace mla::runtime {

absl::Status Vocabulary::Add(std::string text, int64_t id) {
  if (id < 0 || id >= kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("token ", Quote(text), " has the id ", id,
                     "; ids run from 0 to ", kMaxTokens - 1));
  }
  if (Has(id)) {
    return absl::InvalidArgumentError(absl::StrCat("tokens ", Quote(Text(id)),
                                                   " and ", Quote(text),
                                                   " share the id ", id));
  }
  if (id >= size()) texts_.resize(id + 1);
  texts_[id] = std::move(text);
  const auto [it, inserted] = ids_.try_emplace(texts_[id], id);
  if (!inserted) {
    return absl::InvalidArgumentError(absl::StrCat("token ", Quote(texts_[id]),
                                                   " has two ids: ", it->second,
                                                   " and ", id));
  }
  return absl::OkStatus();
}

bool Vocabulary::Has(int64_t id) const {
  // The empty text can be a token too; then, and only then, it is in ids_.
  return id >= 0 && id < size() &&
         (!texts_[id].empty() || Find("") == static_cast<int32_t>(id));
}

std::string_view Vocabulary::Text(int64_t id) const {
  return id >= 0 && id < size() ? std::string_view(texts_[id])
                                : std::string_view();
}

std::optional<int32_t> Vocabulary::Find(std::string_view text) const {
  const auto it = ids_.find(text);
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

}  // namespace mla::runtime

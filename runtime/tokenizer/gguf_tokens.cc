// Tested by tests/runtime/gguf_tokenizer_test.cc.
#include "runtime/tokenizer/gguf_tokens.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/checkpoint/quote.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

absl::StatusOr<std::vector<GgufMerge>> ListedMerges(
    const GgufVocab& gguf, const Vocabulary& vocabulary) {
  std::vector<GgufMerge> merges;
  for (size_t rank = 0; rank < gguf.merges.size(); ++rank) {
    const std::string& merge = gguf.merges[rank];
    const std::vector<std::string> sides = absl::StrSplit(merge, ' ');
    if (sides.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge ", rank, " is not two tokens: ", Quote(merge)));
    }
    const auto left = vocabulary.Find(sides[0]);
    const auto right = vocabulary.Find(sides[1]);
    const auto merged = vocabulary.Find(sides[0] + sides[1]);
    if (!left || !right || !merged) {
      return absl::InvalidArgumentError(
          absl::StrCat("merge ", rank, ", ", Quote(merge),
                       ", names or makes a token that does not exist"));
    }
    if (CanSpell(gguf, *left) && CanSpell(gguf, *right) &&
        CanSpell(gguf, *merged)) {
      merges.push_back({*left, *right, *merged, static_cast<int32_t>(rank)});
    }
  }
  return merges;
}

// SentencePiece lists no merges: two neighbours merge if together they are a
// token, the best score first. So each way to cut a token in two is a merge.
std::vector<GgufMerge> MergesByScore(const GgufVocab& gguf,
                                     const Vocabulary& vocabulary) {
  std::vector<int32_t> order;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (CanSpell(gguf, id)) order.push_back(static_cast<int32_t>(id));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return gguf.scores[a] > gguf.scores[b];
  });
  const auto find = [&](std::string_view text) {
    const auto id = vocabulary.Find(text);
    return id.has_value() && CanSpell(gguf, *id) ? id : std::nullopt;
  };
  std::vector<GgufMerge> merges;
  int32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    // Equal scores are equal ranks: then the leftmost pair merges first.
    if (i > 0 && gguf.scores[order[i]] != gguf.scores[order[i - 1]]) ++rank;
    const std::string_view text = vocabulary.Text(order[i]);
    for (size_t cut = 0; cut < text.size();) {
      NextCharacter(text, &cut);
      if (cut == text.size()) break;
      const auto left = find(text.substr(0, cut));
      const auto right = find(text.substr(cut));
      if (left && right) merges.push_back({*left, *right, order[i], rank});
    }
  }
  return merges;
}

}  // namespace

GgufTokenType TypeOf(const GgufVocab& gguf, size_t id) {
  return gguf.types.empty() ? GgufTokenType::kNormal
                            : static_cast<GgufTokenType>(gguf.types[id]);
}

bool IsAdded(GgufTokenType type) {
  return type == GgufTokenType::kUnknown || type == GgufTokenType::kControl ||
         type == GgufTokenType::kUserDefined;
}

bool CanSpell(const GgufVocab& gguf, size_t id) {
  switch (TypeOf(gguf, id)) {
    case GgufTokenType::kUnknown:
    case GgufTokenType::kControl:
    case GgufTokenType::kByte:
      return false;
    case GgufTokenType::kUserDefined:
      return IsBlank(gguf.tokens[id]);
    default:
      return true;
  }
}

absl::StatusOr<std::vector<GgufMerge>> GgufMerges(
    const GgufVocab& gguf, const Vocabulary& vocabulary) {
  if (gguf.model == "gpt2") return ListedMerges(gguf, vocabulary);
  return MergesByScore(gguf, vocabulary);
}

}  // namespace mla::runtime

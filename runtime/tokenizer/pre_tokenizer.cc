// Tested by tests/runtime/json_tokenizer_test.cc.
#include "runtime/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_replace.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/byte_level.h"

namespace mla::runtime {
namespace {

// A part of a word: a delimiter or what lies between two.
struct Piece {
  TextRange range;
  bool delimiter;
};

std::vector<Piece> Tile(TextRange word, const std::vector<TextRange>& matches,
                        bool invert) {
  std::vector<Piece> pieces;
  size_t end = word.begin;
  for (const TextRange& match : matches) {
    const TextRange found{word.begin + match.begin, word.begin + match.end};
    if (end < found.begin) pieces.push_back({{end, found.begin}, invert});
    pieces.push_back({found, !invert});
    end = found.end;
  }
  if (end < word.end) pieces.push_back({{end, word.end}, invert});
  return pieces;
}

// Joins pieces as `behavior` says. A delimiter that follows a delimiter is not
// merged with its neighbour: Hugging Face merges only the first of a row.
std::vector<Piece> Join(std::vector<Piece> pieces, SplitBehavior behavior) {
  if (behavior == SplitBehavior::kIsolated) return pieces;
  if (behavior == SplitBehavior::kRemoved) {
    std::erase_if(pieces, [](const Piece& piece) { return piece.delimiter; });
    return pieces;
  }
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(pieces.begin(), pieces.end());
  std::vector<Piece> joined;
  bool after_delimiter = false;
  for (const Piece& piece : pieces) {
    const bool join =
        !joined.empty() && (behavior == SplitBehavior::kContiguous
                                ? piece.delimiter == after_delimiter
                                : piece.delimiter && !after_delimiter);
    if (!join) {
      joined.push_back(piece);
    } else if (backwards) {
      joined.back().range.begin = piece.range.begin;
    } else {
      joined.back().range.end = piece.range.end;
    }
    after_delimiter = piece.delimiter;
  }
  if (backwards) std::reverse(joined.begin(), joined.end());
  return joined;
}

// Rebuilds the text word by word with what `append(word, out)` writes; it may
// read the old text meanwhile.
template <typename Append>
void RewriteWords(SplitText* split, Append append) {
  std::string text;
  text.reserve(split->text.size() + split->text.size() / 2);
  for (TextRange& word : split->words) {
    const size_t begin = text.size();
    append(word, &text);
    word = {begin, text.size()};
  }
  split->text = std::move(text);
}

}  // namespace

class PreTokenizer::Step {
 public:
  virtual ~Step() = default;
  virtual absl::Status Run(bool at_text_start, SplitText* split) const = 0;
};

class PreTokenizer::Split : public Step {
 public:
  Split(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Run(bool, SplitText* split) const override {
    const std::string_view text = split->text;
    std::vector<TextRange> words;
    std::vector<TextRange> matches;
    for (const TextRange& word : split->words) {
      matches.clear();
      RETURN_IF_ERROR(
          pattern_.FindAll(text.substr(word.begin, word.size()), &matches));
      for (const Piece& piece : Join(Tile(word, matches, invert_), behavior_)) {
        if (piece.range.size() > 0) words.push_back(piece.range);
      }
    }
    split->words = std::move(words);
    return absl::OkStatus();
  }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class PreTokenizer::ByteLevel : public Step {
 public:
  absl::Status Run(bool, SplitText* split) const override {
    const std::string& text = split->text;
    RewriteWords(split, [&](TextRange word, std::string* out) {
      for (size_t i = word.begin; i < word.end; ++i) {
        out->append(ByteLevelCharacter(text[i]));
      }
    });
    return absl::OkStatus();
  }
};

class PreTokenizer::PrefixSpace : public Step {
 public:
  absl::Status Run(bool, SplitText* split) const override {
    const std::string& text = split->text;
    RewriteWords(split, [&](TextRange word, std::string* out) {
      if (text[word.begin] != ' ') out->push_back(' ');
      out->append(text, word.begin, word.size());
    });
    return absl::OkStatus();
  }
};

class PreTokenizer::Metaspace : public Step {
 public:
  Metaspace(std::string replacement, Prepend prepend)
      : replacement_(std::move(replacement)), prepend_(prepend) {}

  absl::Status Run(bool at_text_start, SplitText* split) const override {
    const std::string& text = split->text;
    RewriteWords(split, [&](TextRange word, std::string* out) {
      const std::string replaced = absl::StrReplaceAll(
          text.substr(word.begin, word.size()), {{" ", replacement_}});
      const bool first = at_text_start && word.begin == 0;
      const bool wanted = prepend_ == Prepend::kAlways ||
                          (prepend_ == Prepend::kFirst && first);
      if (wanted && !replaced.starts_with(replacement_)) {
        out->append(replacement_);
      }
      out->append(replaced);
    });
    return absl::OkStatus();
  }

 private:
  std::string replacement_;
  Prepend prepend_;
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) = default;

void PreTokenizer::AddSplit(Regex pattern, SplitBehavior behavior,
                            bool invert) {
  steps_.push_back(
      std::make_unique<Split>(std::move(pattern), behavior, invert));
}

void PreTokenizer::AddByteLevel() {
  steps_.push_back(std::make_unique<ByteLevel>());
}

void PreTokenizer::AddPrefixSpace() {
  steps_.push_back(std::make_unique<PrefixSpace>());
}

void PreTokenizer::AddMetaspace(std::string replacement, Prepend prepend) {
  steps_.push_back(
      std::make_unique<Metaspace>(std::move(replacement), prepend));
}

absl::Status PreTokenizer::Run(bool at_text_start, SplitText* split) const {
  for (const auto& step : steps_) {
    RETURN_IF_ERROR(step->Run(at_text_start, split));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

// Encoding goes the way of Hugging Face's pipeline:
//
//   text --raw added tokens--> sections --normalizer, normalized added
//   tokens--> sections --pre-tokenizer--> words --BPE--> ids
//
// Tested by tests/runtime/tokenizer_test.cc.
#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/detokenizer.h"
#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

// Keeps symbol indices in 32 bits, with room for the spelling of bytes.
constexpr size_t kMaxTextBytes = size_t{256} << 20;

// The parts of `ranges` inside `section`, relative to its start.
std::vector<TextRange> Clip(absl::Span<const TextRange> ranges,
                            TextRange section) {
  const auto first = std::partition_point(
      ranges.begin(), ranges.end(),
      [&](const TextRange& range) { return range.end <= section.begin; });
  std::vector<TextRange> clipped;
  for (auto it = first; it != ranges.end() && it->begin < section.end; ++it) {
    clipped.push_back({std::max(it->begin, section.begin) - section.begin,
                       std::min(it->end, section.end) - section.begin});
  }
  return clipped;
}

// Calls encode(range) for what lies between the matches.
template <typename EncodeSection>
absl::Status EncodeAround(const std::vector<AddedTokens::Match>& matches,
                          size_t text_size, std::vector<int32_t>* ids,
                          EncodeSection encode) {
  size_t begin = 0;
  for (const AddedTokens::Match& match : matches) {
    if (begin < match.range.begin) {
      RETURN_IF_ERROR(encode(TextRange{begin, match.range.begin}));
    }
    ids->push_back(match.id);
    begin = match.range.end;
  }
  if (begin < text_size) RETURN_IF_ERROR(encode(TextRange{begin, text_size}));
  return absl::OkStatus();
}

}  // namespace

Tokenizer::Tokenizer(Parts parts)
    : parts_(std::move(parts)), decoder_(parts_.decoder, parts_.vocabulary) {}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(
    std::string_view text, EncodeOptions options) const {
  const TextRange whole{0, text.size()};
  const absl::Span<const TextRange> trusted(&whole, options.parse_special);
  return EncodeTrusting(text, trusted, options.add_special);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeTrusting(
    std::string_view text, absl::Span<const TextRange> trusted,
    bool add_special) const {
  if (text.size() > kMaxTextBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("a text of ", text.size(),
                                                     " bytes is longer than ",
                                                     kMaxTextBytes, " bytes"));
  }
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text is not valid UTF-8 at byte ", invalid));
  }
  std::vector<int32_t> ids;
  if (add_special) ids = parts_.prefix;
  std::vector<AddedTokens::Match> matches;
  parts_.raw_added.FindAll(text, trusted, &matches);
  RETURN_IF_ERROR(
      EncodeAround(matches, text.size(), &ids, [&](TextRange section) {
        return EncodeRaw(text.substr(section.begin, section.size()),
                         section.begin == 0, Clip(trusted, section), &ids);
      }));
  if (add_special) {
    ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  }
  return ids;
}

absl::Status Tokenizer::EncodeRaw(std::string_view text, bool at_text_start,
                                  absl::Span<const TextRange> trusted,
                                  std::vector<int32_t>* ids) const {
  ASSIGN_OR_RETURN(const std::string normalized, parts_.normalizer.Run(text));
  // Offsets survive only where nothing was rewritten; elsewhere a section is
  // trusted as a whole or not at all.
  const bool all_trusted =
      trusted.size() == 1 && trusted[0] == TextRange{0, text.size()};
  const TextRange whole{0, normalized.size()};
  if (normalized != text) {
    trusted = absl::Span<const TextRange>(&whole, all_trusted);
  }
  std::vector<AddedTokens::Match> matches;
  parts_.normalized_added.FindAll(normalized, trusted, &matches);
  return EncodeAround(matches, normalized.size(), ids, [&](TextRange section) {
    return EncodeWords(
        std::string_view(normalized).substr(section.begin, section.size()),
        at_text_start && section.begin == 0, ids);
  });
}

absl::Status Tokenizer::EncodeWords(std::string_view normalized,
                                    bool at_text_start,
                                    std::vector<int32_t>* ids) const {
  SplitText split{std::string(normalized), {{0, normalized.size()}}};
  RETURN_IF_ERROR(parts_.pre_tokenizer.Run(at_text_start, &split));
  for (const TextRange& word : split.words) {
    parts_.model->Encode(
        std::string_view(split.text).substr(word.begin, word.size()), ids);
  }
  return absl::OkStatus();
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids,
                              bool skip_special) const {
  Detokenizer detokenizer(this, skip_special);
  std::string text;
  for (const int32_t id : ids) text.append(detokenizer.Append(id));
  text.append(detokenizer.Finish());
  return text;
}

}  // namespace mla::runtime

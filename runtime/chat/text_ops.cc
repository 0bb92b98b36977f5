// Tested by tests/runtime/chat_snippet_test.cc.
#include "runtime/chat/text_ops.h"

#include <string.h>  // memmem
#include <utf8proc.h>

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "runtime/status_macros.h"
#include "runtime/unicode.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

// What finding and joining one piece costs, whatever its size.
constexpr size_t kPieceBytes = 32;
constexpr size_t kNoBound = std::numeric_limits<size_t>::max();

size_t Bound(int64_t count) {
  return count < 0 ? kNoBound : static_cast<size_t>(count);
}

bool IsOneOf(char32_t c, std::string_view chars) {
  for (size_t pos = 0; pos < chars.size();) {
    if (NextCharacter(chars, &pos) == c) return true;
  }
  return false;
}

size_t PreviousCharacter(std::string_view text, size_t pos) {
  do {
    --pos;
  } while (pos > 0 && (text[pos] & 0xC0) == 0x80);
  return pos;
}

bool IsLineBreak(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
         c == 0x2028 || c == 0x2029;
}

// Byte offsets of every character, and the end.
std::vector<size_t> CharacterOffsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t pos = 0; pos < text.size();) {
    offsets.push_back(pos);
    NextCharacter(text, &pos);
  }
  offsets.push_back(text.size());
  return offsets;
}

std::vector<MarkedText> SplitAtSpace(const MarkedText& text,
                                     size_t max_splits) {
  std::vector<MarkedText> parts;
  const std::string_view bytes = text.str();
  size_t begin = std::string_view::npos;  // of the part being read
  for (size_t pos = 0; pos < bytes.size();) {
    const size_t at = pos;
    const bool space = IsPythonSpace(NextCharacter(bytes, &pos));
    if (!space && begin == std::string_view::npos) {
      begin = at;
      if (parts.size() < max_splits) continue;
      parts.push_back(text.Substr(begin, bytes.size()));
      return parts;
    }
    if (space && begin != std::string_view::npos) {
      parts.push_back(text.Substr(begin, at));
      begin = std::string_view::npos;
    }
  }
  if (begin != std::string_view::npos) {
    parts.push_back(text.Substr(begin, bytes.size()));
  }
  return parts;
}

}  // namespace

bool IsPythonSpace(char32_t c) {
  return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F);
}

size_t FindText(std::string_view text, std::string_view wanted, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from,
                             wanted.data(), wanted.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<const char*>(found) - text.data();
}

absl::StatusOr<MarkedText> Strip(Budget& budget, const MarkedText& text,
                                 std::optional<std::string_view> chars,
                                 bool left, bool right) {
  const std::string_view bytes = text.str();
  RETURN_IF_ERROR(budget.Bytes(text.cost()));
  // Each character is looked for among `chars`.
  const size_t cost = chars.has_value() ? 1 + chars->size() / 8 : 1;
  const auto strippable = [&](char32_t c) {
    return chars.has_value() ? IsOneOf(c, *chars) : IsPythonSpace(c);
  };
  size_t begin = 0;
  while (left && begin < bytes.size()) {
    size_t next = begin;
    RETURN_IF_ERROR(budget.Bytes(cost));
    if (!strippable(NextCharacter(bytes, &next))) break;
    begin = next;
  }
  size_t end = bytes.size();
  while (right && end > begin) {
    const size_t previous = PreviousCharacter(bytes, end);
    size_t pos = previous;
    RETURN_IF_ERROR(budget.Bytes(cost));
    if (!strippable(NextCharacter(bytes, &pos))) break;
    end = previous;
  }
  return text.Substr(begin, end);
}

absl::StatusOr<std::vector<MarkedText>> Split(
    Budget& budget, const MarkedText& text,
    std::optional<std::string_view> separator, int64_t max_splits) {
  RETURN_IF_ERROR(budget.Bytes(2 * text.cost()));
  if (!separator.has_value()) {
    RETURN_IF_ERROR(budget.Bytes(text.size() * sizeof(MarkedText) / 2));
    return SplitAtSpace(text, Bound(max_splits));
  }
  std::vector<MarkedText> parts;
  size_t begin = 0;
  while (parts.size() < Bound(max_splits)) {
    const size_t found = FindText(text.str(), *separator, begin);
    if (found == std::string_view::npos) break;
    RETURN_IF_ERROR(budget.Bytes(sizeof(MarkedText)));
    parts.push_back(text.Substr(begin, found));
    begin = found + separator->size();
  }
  parts.push_back(text.Substr(begin, text.size()));
  return parts;
}

absl::StatusOr<std::vector<MarkedText>> SplitLines(Budget& budget,
                                                   const MarkedText& text) {
  RETURN_IF_ERROR(budget.Bytes(2 * text.cost()));
  std::vector<MarkedText> lines;
  const std::string_view bytes = text.str();
  size_t begin = 0;
  for (size_t pos = 0; pos < bytes.size();) {
    const size_t at = pos;
    const char32_t c = NextCharacter(bytes, &pos);
    if (!IsLineBreak(c)) continue;
    if (c == '\r' && pos < bytes.size() && bytes[pos] == '\n') ++pos;
    RETURN_IF_ERROR(budget.Bytes(sizeof(MarkedText)));
    lines.push_back(text.Substr(begin, at));
    begin = pos;
  }
  if (begin < bytes.size()) lines.push_back(text.Substr(begin, bytes.size()));
  return lines;
}

absl::StatusOr<MarkedText> Replace(Budget& budget, const MarkedText& text,
                                   std::string_view from, const MarkedText& to,
                                   int64_t count) {
  RETURN_IF_ERROR(budget.Bytes(2 * text.cost()));
  const std::string_view bytes = text.str();
  MarkedText result;
  size_t copied = 0;
  size_t from_pos = 0;
  for (size_t done = 0; done < Bound(count); ++done) {
    const size_t found = FindText(bytes, from, from_pos);
    if (found == std::string_view::npos) break;
    RETURN_IF_ERROR(budget.Bytes(kPieceBytes + to.cost()));
    result.Append(text.Substr(copied, found));
    result.Append(to);
    copied = from_pos = found + from.size();
    if (!from.empty()) continue;
    // An empty text is found between every two characters, and at both ends.
    if (from_pos == bytes.size()) break;
    NextCharacter(bytes, &from_pos);
  }
  result.Append(text.Substr(copied, bytes.size()));
  return result;
}

SliceBounds ClipSlice(int64_t length, std::optional<int64_t> start,
                      std::optional<int64_t> stop, int64_t step) {
  const auto clip = [&](int64_t index) {
    if (index < 0) {
      index += length;
      return std::max<int64_t>(index, step < 0 ? -1 : 0);
    }
    return std::min(index, step < 0 ? length - 1 : length);
  };
  // Larger steps lead out of the text all the same, and could overflow.
  step = std::clamp(step, -length - 1, length + 1);
  if (step > 0) {
    const int64_t first = start.has_value() ? clip(*start) : 0;
    const int64_t end = stop.has_value() ? clip(*stop) : length;
    return {first, first < end ? (end - first - 1) / step + 1 : 0, step};
  }
  const int64_t first = start.has_value() ? clip(*start) : length - 1;
  const int64_t end = stop.has_value() ? clip(*stop) : -1;
  return {first, first > end ? (first - end - 1) / -step + 1 : 0, step};
}

absl::StatusOr<MarkedText> SliceText(Budget& budget, const MarkedText& text,
                                     std::optional<int64_t> start,
                                     std::optional<int64_t> stop,
                                     int64_t step) {
  RETURN_IF_ERROR(budget.Bytes(text.size() * sizeof(size_t)));
  const std::vector<size_t> offsets = CharacterOffsets(text.str());
  const int64_t length = static_cast<int64_t>(offsets.size()) - 1;
  const SliceBounds bounds = ClipSlice(length, start, stop, step);
  if (bounds.count == 0) return MarkedText();
  if (step == 1) {
    return text.Substr(offsets[bounds.first],
                       offsets[bounds.first + bounds.count]);
  }
  RETURN_IF_ERROR(budget.Bytes(bounds.count * kPieceBytes));
  MarkedText result;
  for (int64_t i = 0; i < bounds.count; ++i) {
    const int64_t at = bounds.first + i * bounds.step;
    result.Append(text.Substr(offsets[at], offsets[at + 1]));
  }
  return result;
}

absl::StatusOr<MarkedText> ChangeCase(Budget& budget, const MarkedText& text,
                                      Case wanted) {
  RETURN_IF_ERROR(budget.Bytes(2 * text.cost()));
  std::string changed;
  bool at_start = true;  // of the text, or of a word for the titles
  for (size_t pos = 0; pos < text.size();) {
    const auto c =
        static_cast<utf8proc_int32_t>(NextCharacter(text.str(), &pos));
    const bool upper =
        wanted == Case::kUpper || (wanted != Case::kLower && at_start);
    const auto mapped = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);
    AppendUtf8(static_cast<char32_t>(mapped), &changed);
    const bool cased = utf8proc_toupper(c) != c || utf8proc_tolower(c) != c;
    at_start =
        (wanted == Case::kTitle && !cased) ||
        (wanted == Case::kJinjaTitle &&
         (IsPythonSpace(c) || (c < 0x80 && c > 0 && strchr("-({[<", c))));
  }
  return MarkedText(std::move(changed), text.AllTrusted());
}

}  // namespace mla::runtime::jinja

// Operations on texts in Python's terms: indices count characters, white space
// is Python's, and every result keeps the marks of what it was cut from.
// Threads: any. Errors: the budget's, which every function here is charged to.
#ifndef MLA_RUNTIME_CHAT_TEXT_OPS_H_
#define MLA_RUNTIME_CHAT_TEXT_OPS_H_

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/chat/budget.h"
#include "runtime/chat/marked_text.h"

namespace mla::runtime::jinja {

// str.isspace() of one character: White_Space and U+001C to U+001F.
bool IsPythonSpace(char32_t c);

// The first occurrence at or after `from`, or npos. Linear time, whatever the
// texts.
size_t FindText(std::string_view text, std::string_view wanted, size_t from);

// str.strip(chars), or one side of it. No chars: white space.
absl::StatusOr<MarkedText> Strip(Budget& budget, const MarkedText& text,
                                 std::optional<std::string_view> chars,
                                 bool left, bool right);

// str.split(separator, max_splits); no separator: at runs of white space.
// A negative max_splits is no bound.
absl::StatusOr<std::vector<MarkedText>> Split(
    Budget& budget, const MarkedText& text,
    std::optional<std::string_view> separator, int64_t max_splits);
// str.splitlines().
absl::StatusOr<std::vector<MarkedText>> SplitLines(Budget& budget,
                                                   const MarkedText& text);

// str.replace(from, to, count). A negative count is no bound.
absl::StatusOr<MarkedText> Replace(Budget& budget, const MarkedText& text,
                                   std::string_view from, const MarkedText& to,
                                   int64_t count);

// text[start:stop:step].
absl::StatusOr<MarkedText> SliceText(Budget& budget, const MarkedText& text,
                                     std::optional<int64_t> start,
                                     std::optional<int64_t> stop, int64_t step);

// How Python clips a slice of `length` items: `count` of them from `first` on,
// `step` apart. The step wanted is not 0.
struct SliceBounds {
  int64_t first;
  int64_t count;
  int64_t step;
};
SliceBounds ClipSlice(int64_t length, std::optional<int64_t> start,
                      std::optional<int64_t> stop, int64_t step);

// Upper and lower case by Unicode's simple mappings, one character for one, but
// for the sharp s.
enum class Case { kUpper, kLower, kCapitalized, kTitle, kJinjaTitle };
absl::StatusOr<MarkedText> ChangeCase(Budget& budget, const MarkedText& text,
                                      Case wanted);

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_TEXT_OPS_H_

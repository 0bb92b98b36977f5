// MarkedText is text that remembers which of its bytes the template's author
// wrote (trusted) and which came with a request (untrusted). Substr and Append
// keep the marks, so whatever a template cuts and joins, the rendered prompt
// can say where markup tokens may be recognised.
// Threads: a value; const methods from any. Units: byte offsets.
#ifndef MLA_RUNTIME_CHAT_MARKED_TEXT_H_
#define MLA_RUNTIME_CHAT_MARKED_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text_range.h"

namespace mla::runtime::jinja {

class MarkedText {
 public:
  MarkedText() = default;
  MarkedText(std::string text, bool trusted);

  const std::string& str() const { return text_; }
  size_t size() const { return text_.size(); }
  bool empty() const { return text_.empty(); }
  // Bytes in memory, for budgets: marks that alternate outweigh the text.
  size_t cost() const;

  void Append(std::string_view text, bool trusted);
  void Append(const MarkedText& text);
  MarkedText Substr(size_t begin, size_t end) const;

  // No byte came with a request.
  bool AllTrusted() const;
  // Sorted, disjoint, not touching.
  std::vector<TextRange> TrustedRanges() const;

 private:
  // Runs alternate between trusted and not; each ends where the next begins.
  struct Run {
    size_t end;
    bool trusted;
  };
  std::string text_;
  std::vector<Run> runs_;
};

}  // namespace mla::runtime::jinja

#endif  // MLA_RUNTIME_CHAT_MARKED_TEXT_H_

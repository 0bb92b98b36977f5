// Tested by tests/runtime/marked_text_test.cc.
#include "runtime/chat/marked_text.h"

#include <algorithm>
#include <utility>

namespace mla::runtime::jinja {

MarkedText::MarkedText(std::string text, bool trusted)
    : text_(std::move(text)) {
  if (!text_.empty()) runs_.push_back({text_.size(), trusted});
}

size_t MarkedText::cost() const {
  return text_.size() + runs_.size() * sizeof(Run);
}

void MarkedText::Append(std::string_view text, bool trusted) {
  if (text.empty()) return;
  text_.append(text);
  if (!runs_.empty() && runs_.back().trusted == trusted) {
    runs_.back().end = text_.size();
  } else {
    runs_.push_back({text_.size(), trusted});
  }
}

void MarkedText::Append(const MarkedText& text) {
  size_t begin = 0;
  for (const Run& run : text.runs_) {
    Append(std::string_view(text.text_).substr(begin, run.end - begin),
           run.trusted);
    begin = run.end;
  }
}

MarkedText MarkedText::Substr(size_t begin, size_t end) const {
  MarkedText result;
  auto run = std::partition_point(
      runs_.begin(), runs_.end(),
      [begin](const Run& candidate) { return candidate.end <= begin; });
  while (begin < end && run != runs_.end()) {
    const size_t stop = std::min(end, run->end);
    result.Append(std::string_view(text_).substr(begin, stop - begin),
                  run->trusted);
    begin = stop;
    ++run;
  }
  return result;
}

bool MarkedText::AllTrusted() const {
  return runs_.empty() || (runs_.size() == 1 && runs_[0].trusted);
}

std::vector<TextRange> MarkedText::TrustedRanges() const {
  std::vector<TextRange> ranges;
  size_t begin = 0;
  for (const Run& run : runs_) {
    if (run.trusted) ranges.push_back({begin, run.end});
    begin = run.end;
  }
  return ranges;
}

}  // namespace mla::runtime::jinja

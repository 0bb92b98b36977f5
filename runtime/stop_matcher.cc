// Tested by tests/runtime/stop_matcher_test.cc.
#include "runtime/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace mla::runtime {
namespace {

// Length of the longest end of `text` that begins `stop` without being it.
size_t Overlap(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops)
    : stops_(std::move(stops)) {}

std::string StopMatcher::Append(std::string_view text) {
  if (matched_) return "";
  held_ += text;
  // Generation ends with the string that is complete first, however the text
  // was cut; of two that end together the longer one counts.
  size_t first = 0, end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (at + stop.size() < end || (at + stop.size() == end && at < first)) {
      first = at;
      end = at + stop.size();
      matched_ = stop;
    }
  }
  if (matched_) {
    std::string before = held_.substr(0, first);
    held_.clear();
    return before;
  }
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    keep = std::max(keep, Overlap(held_, stop));
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

}  // namespace mla::runtime

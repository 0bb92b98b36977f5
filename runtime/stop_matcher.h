// StopMatcher finds the stop string that is complete first in a growing text,
// and holds back the end of the text while it may still become one.
// Threads: one.
#ifndef MLA_RUNTIME_STOP_MATCHER_H_
#define MLA_RUNTIME_STOP_MATCHER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mla::runtime {

class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text; returns what is certain to stand before any stop string. Once a
  // stop string is found (matched()), nothing more comes out.
  std::string Append(std::string_view text);
  // What was held back, when no text follows.
  std::string Finish();

  const std::optional<std::string>& matched() const { return matched_; }

 private:
  const std::vector<std::string> stops_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_STOP_MATCHER_H_

#include "runtime/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace mla::runtime {
namespace {

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Append("abc"), "abc");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"</end>"});
  EXPECT_EQ(matcher.Append("a <"), "a ");
  EXPECT_EQ(matcher.Append("/e"), "");
  EXPECT_EQ(matcher.Append("x"), "</ex");
  EXPECT_EQ(matcher.Append("</end"), "");
  EXPECT_EQ(matcher.Finish(), "</end");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, CutsTheTextBeforeTheFirstStop) {
  StopMatcher matcher({"END", "STOP"});
  EXPECT_EQ(matcher.Append("one ST"), "one ");
  EXPECT_EQ(matcher.Append("OP two END"), "");
  EXPECT_EQ(matcher.matched(), "STOP");
  EXPECT_EQ(matcher.Append("three"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, FindsAStopThatOverlapsItself) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.Append("a"), "");
  EXPECT_EQ(matcher.Append("a"), "");
  EXPECT_EQ(matcher.Append("a"), "a");
  EXPECT_EQ(matcher.Append("b"), "");
  EXPECT_EQ(matcher.matched(), "aab");
}

// Any cut of any text gives what a search of the whole text gives.
TEST(StopMatcher, PiecesGiveWhatTheWholeGives) {
  std::mt19937 random(3);
  const auto word = [&](size_t most) {
    std::string s(1 + random() % most, 'a');
    for (char& c : s) c = "ab"[random() % 2];
    return s;
  };
  for (int round = 0; round < 5000; ++round) {
    const std::vector<std::string> stops = {word(4), word(6)};
    const std::string text = word(30);
    // The shortest beginning of the text that ends with a stop.
    size_t first = std::string::npos;
    for (size_t end = 1; end <= text.size() && first > end; ++end) {
      for (const std::string& s : stops) {
        if (text.substr(0, end).ends_with(s)) {
          first = std::min(first, end - s.size());
        }
      }
    }
    StopMatcher matcher(stops);
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + random() % 4;
      out += matcher.Append(text.substr(at, n));
      at += n;
    }
    out += matcher.Finish();
    EXPECT_EQ(out, text.substr(0, first))
        << text << " " << stops[0] << " " << stops[1];
    EXPECT_EQ(matcher.matched().has_value(), first != std::string::npos);
  }
}

}  // namespace
}  // namespace mla::runtime

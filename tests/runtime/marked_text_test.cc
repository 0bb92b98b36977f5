#include "runtime/chat/marked_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mla::runtime::jinja {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "aabbcc", of which "bb" is not trusted.
MarkedText Mixed() {
  MarkedText text("aa", /*trusted=*/true);
  text.Append("bb", /*trusted=*/false);
  text.Append("cc", /*trusted=*/true);
  return text;
}

TEST(MarkedText, KnowsItsTrustedRanges) {
  EXPECT_EQ(Mixed().str(), "aabbcc");
  EXPECT_THAT(Mixed().TrustedRanges(),
              ElementsAre(TextRange{0, 2}, TextRange{4, 6}));
  EXPECT_FALSE(Mixed().AllTrusted());
  EXPECT_TRUE(MarkedText().AllTrusted());
  EXPECT_TRUE(MarkedText("a", true).AllTrusted());
  EXPECT_THAT(MarkedText("a", false).TrustedRanges(), IsEmpty());
}

TEST(MarkedText, SubstrKeepsTheMarks) {
  const MarkedText cut = Mixed().Substr(1, 5);
  EXPECT_EQ(cut.str(), "abbc");
  EXPECT_THAT(cut.TrustedRanges(),
              ElementsAre(TextRange{0, 1}, TextRange{3, 4}));
  EXPECT_EQ(Mixed().Substr(2, 4).str(), "bb");
  EXPECT_THAT(Mixed().Substr(2, 4).TrustedRanges(), IsEmpty());
  EXPECT_TRUE(Mixed().Substr(6, 6).empty());
}

TEST(MarkedText, AppendJoinsNeighboursOfOneKind) {
  MarkedText text = Mixed();
  text.Append(Mixed());
  EXPECT_EQ(text.str(), "aabbccaabbcc");
  EXPECT_THAT(text.TrustedRanges(),
              ElementsAre(TextRange{0, 2}, TextRange{4, 8}, TextRange{10, 12}));
}

}  // namespace
}  // namespace mla::runtime::jinja

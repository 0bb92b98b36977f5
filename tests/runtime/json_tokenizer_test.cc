// tokenizer.json -> ids and back: every golden line of every family, and what
// is said of files that are wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::FamilyDir;
using ::mla::testing::ReadFile;

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto dir = FamilyDir(GetParam());
    auto tokenizer =
        Tokenizer::FromJson(ReadFile(dir / "tokenizer.json"),
                            ReadFile(dir / "tokenizer_config.json"));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(Family, EncodesAsHuggingFaceDoes) {
  mla::testing::ExpectEncodes(*tokenizer_,
                              FamilyDir(GetParam()) / "encode.jsonl");
}

TEST_P(Family, DecodesEveryPrefixAsHuggingFaceDoes) {
  mla::testing::ExpectDecodes(*tokenizer_,
                              FamilyDir(GetParam()) / "decode.jsonl");
}

INSTANTIATE_TEST_SUITE_P(Golden, Family,
                         ::testing::ValuesIn(mla::testing::kFamilies),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mla::runtime

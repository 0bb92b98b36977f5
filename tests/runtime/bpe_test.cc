#include "runtime/tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Ids: a 0, b 1, c 2, ab 3, abc 4, bc 5, aa 6.
BpeModel Model(BpeModel::Fallback fallback = {}) {
  BpeModel model(fallback);
  const char* const tokens[] = {"a", "b", "c", "ab", "abc", "bc", "aa"};
  for (int32_t id = 0; id < 7; ++id) model.AddToken(tokens[id], id);
  model.AddMerge(1, 2, /*rank=*/0, 5);
  model.AddMerge(0, 1, /*rank=*/1, 3);
  model.AddMerge(3, 2, /*rank=*/2, 4);
  model.AddMerge(0, 0, /*rank=*/3, 6);
  return model;
}

std::vector<int32_t> Encode(const BpeModel& model, std::string_view word) {
  std::vector<int32_t> ids;
  model.Encode(word, &ids);
  return ids;
}

TEST(Bpe, TheBestRankMergesFirst) {
  EXPECT_THAT(Encode(Model(), "abc"), ElementsAre(0, 5));
  EXPECT_THAT(Encode(Model(), "ab"), ElementsAre(3));
  EXPECT_THAT(Encode(Model(), ""), IsEmpty());
}

TEST(Bpe, TheLeftmostOfEqualPairsMergesFirst) {
  EXPECT_THAT(Encode(Model(), "aaa"), ElementsAre(6, 0));
  EXPECT_THAT(Encode(Model(), "aaaa"), ElementsAre(6, 6));
}

TEST(Bpe, AWholeWordThatIsATokenCanGoBeforeMerges) {
  BpeModel model = Model();
  model.set_ignore_merges(true);
  EXPECT_THAT(Encode(model, "abc"), ElementsAre(4));
}

TEST(Bpe, UnknownCharactersAreDroppedWithoutAnUnknownToken) {
  EXPECT_THAT(Encode(Model(), "a?é"), ElementsAre(0));
}

TEST(Bpe, UnknownCharactersInARowAreOneTokenWhenFused) {
  BpeModel::Fallback fallback;
  fallback.unknown = 9;
  EXPECT_THAT(Encode(Model(fallback), "?éa?"), ElementsAre(9, 9, 0, 9));
  fallback.fuse_unknown = true;
  EXPECT_THAT(Encode(Model(fallback), "?éa?"), ElementsAre(9, 0, 9));
}

TEST(Bpe, BytesSpellUnknownCharactersIfAllAreTokens) {
  BpeModel::Fallback fallback;
  fallback.unknown = 9;
  fallback.byte_ids[0xC3] = 20;
  fallback.byte_ids[0xA9] = 21;
  EXPECT_THAT(Encode(Model(fallback), "éè"), ElementsAre(20, 21, 9));
}

TEST(Bpe, AWordOfMegabytesMergesQuickly) {
  const std::vector<int32_t> ids = Encode(Model(), std::string(2'000'000, 'a'));
  EXPECT_THAT(ids, SizeIs(1'000'000));
  EXPECT_THAT(ids, Each(6));
}

}  // namespace
}  // namespace mla::runtime

#include "runtime/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace mla::runtime {
namespace {

std::vector<int32_t> Prompt(int tokens) {
  std::vector<int32_t> prompt(tokens);
  std::iota(prompt.begin(), prompt.end(), 100);
  return prompt;
}

TEST(PrefixCache, OnlyFullBlocksHaveKeys) {
  PrefixCache cache;
  EXPECT_TRUE(cache.Keys(Prompt(15), 16, 0).empty());
  EXPECT_EQ(cache.Keys(Prompt(16), 16, 0).size(), 1u);
  EXPECT_EQ(cache.Keys(Prompt(47), 16, 0).size(), 2u);
}

TEST(PrefixCache, AKeyStandsForTheWholePrefix) {
  PrefixCache cache;
  const auto keys = cache.Keys(Prompt(64), 16, 0);
  EXPECT_EQ(cache.Keys(Prompt(80), 16, 0)[3], keys[3]);

  std::vector<int32_t> other = Prompt(64);
  other[0] += 1;  // in the first block: every later key changes too
  const auto changed = cache.Keys(other, 16, 0);
  for (int i = 0; i < 4; ++i) EXPECT_NE(changed[i], keys[i]);

  // The same tokens twice in a row are two different blocks.
  std::vector<int32_t> repeated(32, 7);
  const auto twice = cache.Keys(repeated, 16, 0);
  EXPECT_NE(twice[0], twice[1]);
}

TEST(PrefixCache, VariantsAndServersDoNotShareKeys) {
  PrefixCache cache, another;
  const auto keys = cache.Keys(Prompt(16), 16, 0);
  EXPECT_NE(cache.Keys(Prompt(16), 16, 1), keys);
  EXPECT_NE(another.Keys(Prompt(16), 16, 0), keys) << "the secret is random";
}

TEST(PrefixCache, FindsWhatWasInsertedUntilErased) {
  PrefixCache cache;
  const auto keys = cache.Keys(Prompt(32), 16, 0);
  EXPECT_EQ(cache.Find(keys[0]), std::nullopt);
  EXPECT_TRUE(cache.Insert(keys[0], 3));
  EXPECT_FALSE(cache.Insert(keys[0], 4)) << "block 3 holds it already";
  EXPECT_EQ(cache.Find(keys[0]), 3);
  cache.Erase(4);  // never entered
  cache.Erase(3);
  EXPECT_EQ(cache.Find(keys[0]), std::nullopt);
  EXPECT_EQ(cache.size(), 0);
}

}  // namespace
}  // namespace mla::runtime

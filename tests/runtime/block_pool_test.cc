#include "runtime/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace mla::runtime {
namespace {

TEST(BlockPool, FullPoolReturnsResourceExhausted) {
  BlockPool pool(2, [](int32_t) {});
  const int32_t a = *pool.Allocate();
  const int32_t b = *pool.Allocate();
  EXPECT_NE(a, b);
  EXPECT_TRUE(absl::IsResourceExhausted(pool.Allocate().status()));
  EXPECT_EQ(pool.active(), 2);
  pool.Unref(a);
  EXPECT_EQ(*pool.Allocate(), a);
  EXPECT_TRUE(pool.CheckInvariants());
}

TEST(BlockPool, AKeptBlockIsCachedUntilItsSpaceIsNeeded) {
  std::vector<int32_t> evicted;
  BlockPool pool(2, [&](int32_t id) { evicted.push_back(id); });
  const int32_t kept = *pool.Allocate();
  pool.Keep(kept);
  pool.Unref(kept);
  EXPECT_EQ(pool.cached(), 1);
  EXPECT_EQ(pool.available(), 2);

  pool.Ref(kept);  // found again
  EXPECT_EQ(pool.cached(), 0);
  EXPECT_EQ(pool.active(), 1);
  pool.Unref(kept);

  EXPECT_NE(*pool.Allocate(), kept);  // the free one goes first
  EXPECT_TRUE(evicted.empty());
  EXPECT_EQ(*pool.Allocate(), kept);
  EXPECT_EQ(evicted, std::vector<int32_t>{kept});
  EXPECT_TRUE(pool.CheckInvariants());
}

TEST(BlockPool, TheBlockReleasedLongestAgoIsEvictedFirst) {
  std::vector<int32_t> evicted;
  BlockPool pool(3, [&](int32_t id) { evicted.push_back(id); });
  std::vector<int32_t> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(*pool.Allocate());
    pool.Keep(ids.back());
  }
  for (int32_t id : {ids[1], ids[2], ids[0]}) pool.Unref(id);
  pool.Ref(ids[1]);  // used again: now the youngest
  pool.Unref(ids[1]);
  EXPECT_EQ(pool.Flush(), 3);
  EXPECT_EQ(evicted, (std::vector<int32_t>{ids[2], ids[0], ids[1]}));
  EXPECT_EQ(pool.free(), 3);
}

// The pool against a model that keeps sets and counts in the obvious way.
TEST(BlockPool, RandomUseAgreesWithAPlainModel) {
  constexpr int kBlocks = 20;
  std::mt19937 random(1);
  std::set<int32_t> evicted;
  BlockPool pool(kBlocks, [&](int32_t id) { evicted.insert(id); });
  std::map<int32_t, int> refs;
  std::set<int32_t> kept, cached;
  for (int step = 0; step < 20000; ++step) {
    evicted.clear();
    const auto pick = [&](auto& from) {
      return std::next(from.begin(), random() % from.size());
    };
    switch (random() % 5) {
      case 0: {
        const auto id = pool.Allocate();
        const bool room = refs.size() < kBlocks;
        ASSERT_EQ(id.ok(), room);
        if (!room) break;
        ASSERT_FALSE(refs.contains(*id));
        if (cached.erase(*id)) {
          EXPECT_TRUE(evicted.contains(*id));
          kept.erase(*id);
        }
        refs[*id] = 1;
        break;
      }
      case 1: {
        if (refs.empty()) break;
        const auto it = pick(refs);
        pool.Ref(it->first);
        ++it->second;
        break;
      }
      case 2: {
        if (refs.empty()) break;
        const auto it = pick(refs);
        const int32_t id = it->first;
        pool.Unref(id);
        if (--it->second > 0) break;
        refs.erase(it);
        if (kept.contains(id)) cached.insert(id);
        break;
      }
      case 3: {
        if (refs.empty()) break;
        const int32_t id = pick(refs)->first;
        pool.Keep(id);
        kept.insert(id);
        break;
      }
      case 4: {
        if (cached.empty()) break;
        const int32_t id = *pick(cached);
        pool.Ref(id);
        cached.erase(id);
        refs[id] = 1;
        break;
      }
    }
    ASSERT_TRUE(pool.CheckInvariants());
    ASSERT_EQ(pool.active(), static_cast<int>(refs.size()));
    ASSERT_EQ(pool.cached(), static_cast<int>(cached.size()));
  }
}

}  // namespace
}  // namespace mla::runtime

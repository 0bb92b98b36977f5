#include "runtime/cpu_count.h"

#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

TEST(CpuCount, AContainersQuotaIsRoundedUp) {
  EXPECT_EQ(CpusFromQuota("200000 100000"), 2);
  EXPECT_EQ(CpusFromQuota("150000 100000"), 2);
  EXPECT_EQ(CpusFromQuota("50000 100000"), 1);
  EXPECT_EQ(CpusFromQuota("max 100000"), 0);
  EXPECT_EQ(CpusFromQuota(""), 0);
  EXPECT_EQ(CpusFromQuota("-1 100000"), 0);
  EXPECT_EQ(CpusFromQuota("100000 0"), 0);
}

TEST(CpuCount, ThereIsAlwaysOne) { EXPECT_GE(UsableCpus(), 1); }

}  // namespace
}  // namespace mla::runtime

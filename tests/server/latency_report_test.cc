#include "server/commands/latency_report.h"

#include <gtest/gtest.h>

namespace mla::server {
namespace {

TEST(Percentile, IsTheNearestRank) {
  const std::vector<double> sorted = {15, 20, 35, 40, 50};
  EXPECT_EQ(Percentile(sorted, 0), 15);
  EXPECT_EQ(Percentile(sorted, 30), 20);
  EXPECT_EQ(Percentile(sorted, 40), 20);
  EXPECT_EQ(Percentile(sorted, 50), 35);
  EXPECT_EQ(Percentile(sorted, 100), 50);
  EXPECT_EQ(Percentile({}, 50), 0);
}

TEST(LatencyReport, SortsWhatItIsGiven) {
  std::vector<double> seconds;
  for (int i = 100; i >= 1; --i) seconds.push_back(i);
  const LatencyReport report = LatencyReport::Of(seconds);
  EXPECT_EQ(report.count, 100u);
  EXPECT_DOUBLE_EQ(report.mean, 50.5);
  EXPECT_EQ(report.p50, 50);
  EXPECT_EQ(report.p90, 90);
  EXPECT_EQ(report.p99, 99);
  EXPECT_EQ(report.max, 100);
}

TEST(LatencyReport, OfNothingIsZero) {
  const LatencyReport report = LatencyReport::Of({});
  EXPECT_EQ(report.count, 0u);
  EXPECT_EQ(report.max, 0);
}

}  // namespace
}  // namespace mla::server

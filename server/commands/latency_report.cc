// Tested by tests/server/latency_report_test.cc.
#include "server/commands/latency_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"

namespace mla::server {

double Percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(percent / 100 * sorted.size());
  const size_t index = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

LatencyReport LatencyReport::Of(std::vector<double> seconds) {
  LatencyReport report;
  if (seconds.empty()) return report;
  std::sort(seconds.begin(), seconds.end());
  report.count = seconds.size();
  report.mean =
      std::accumulate(seconds.begin(), seconds.end(), 0.0) / seconds.size();
  report.p50 = Percentile(seconds, 50);
  report.p90 = Percentile(seconds, 90);
  report.p95 = Percentile(seconds, 95);
  report.p99 = Percentile(seconds, 99);
  report.max = seconds.back();
  return report;
}

nlohmann::json LatencyReport::ToJson() const {
  return {{"count", count}, {"mean", mean}, {"p50", p50}, {"p90", p90},
          {"p95", p95},     {"p99", p99},   {"max", max}};
}

std::string LatencyReport::Header() {
  return absl::StrFormat("%-8s %8s %9s %9s %9s %9s %9s %9s", "ms", "count",
                         "mean", "p50", "p90", "p95", "p99", "max");
}

std::string LatencyReport::Row(const std::string& name) const {
  constexpr double kMs = 1e3;
  return absl::StrFormat("%-8s %8d %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f", name,
                         count, mean * kMs, p50 * kMs, p90 * kMs, p95 * kMs,
                         p99 * kMs, max * kMs);
}

}  // namespace mla::server

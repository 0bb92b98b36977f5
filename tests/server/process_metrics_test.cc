#include "server/process_metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/time/clock.h"

namespace mla::server {
namespace {

std::map<std::string, double> Values() {
  std::map<std::string, double> values;
  for (const auto& family : ProcessMetrics()) {
    const auto& metric = family.metric.at(0);
    values[family.name] = family.type == prometheus::MetricType::Counter
                              ? metric.counter.value
                              : metric.gauge.value;
  }
  return values;
}

TEST(ProcessMetrics, MemoryFollowsWhatIsTouched) {
  constexpr size_t kBytes = size_t{64} << 20;
  const double before = Values().at("process_resident_memory_bytes");
  std::vector<char> touched(kBytes, 'x');
  const double after = Values().at("process_resident_memory_bytes");
  EXPECT_GT(after - before, 0.9 * kBytes);
  EXPECT_EQ(touched[kBytes - 1], 'x');
}

TEST(ProcessMetrics, CpuTimeIsTheKernels) {
  double sum = 0;
  const absl::Time end = absl::Now() + absl::Milliseconds(100);
  while (absl::Now() < end) sum += 1;
  rusage usage{};
  ASSERT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  const double expected =
      usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
      (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  EXPECT_NEAR(Values().at("process_cpu_seconds_total"), expected, 0.1);
  EXPECT_GT(sum, 0);
}

TEST(ProcessMetrics, OneMoreOpenFileIsOneMore) {
  const double before = Values().at("process_open_fds");
  const int file = open("/dev/null", O_RDONLY);
  EXPECT_EQ(Values().at("process_open_fds"), before + 1);
  close(file);
  EXPECT_GT(Values().at("process_max_fds"), before);
}

TEST(ProcessMetrics, StartedALittleWhileAgo) {
  const double age = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) -
                     Values().at("process_start_time_seconds");
  EXPECT_GT(age, -2);  // the boot time is in whole seconds
  EXPECT_LT(age, 600);
}

}  // namespace
}  // namespace mla::server

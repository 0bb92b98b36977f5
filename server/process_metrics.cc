// Tested by tests/server/process_metrics_test.cc.
#include "server/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

namespace mla::server {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Single(const char* name, const char* help, MetricType type,
                    double value) {
  prometheus::ClientMetric metric;
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {name, help, type, {std::move(metric)}};
}

// Fields of /proc/self/stat, numbered as proc(5) does.
std::optional<std::vector<double>> StatFields() {
  std::ifstream in("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  // The second field, the program's name in brackets, may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(name_end + 1));
  std::vector<double> fields = {0, 0, 0, 0};  // 1..3 are not numbers
  std::string state;
  rest >> state;
  for (double value; rest >> value;) fields.push_back(value);
  return fields.size() > 24 ? std::optional(fields) : std::nullopt;
}

// Seconds since the epoch at which the machine started.
std::optional<double> BootTime() {
  std::ifstream in("/proc/stat");
  for (std::string line; std::getline(in, line);) {
    double value = 0;
    if (line.rfind("btime ", 0) == 0 &&
        std::istringstream(line.substr(6)) >> value) {
      return value;
    }
  }
  return std::nullopt;
}

std::optional<double> OpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  if (error) return std::nullopt;
  return static_cast<double>(std::distance(begin(files), end(files)));
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics() {
  std::vector<MetricFamily> families;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  if (const auto stat = StatFields()) {
    families.push_back(Single(
        "process_cpu_seconds_total", "Time spent on CPUs, user and system",
        MetricType::Counter, ((*stat)[14] + (*stat)[15]) / ticks));
    families.push_back(
        Single("process_threads", "Threads", MetricType::Gauge, (*stat)[20]));
    families.push_back(Single("process_virtual_memory_bytes",
                              "Size of the address space", MetricType::Gauge,
                              (*stat)[23]));
    families.push_back(Single("process_resident_memory_bytes", "Memory in use",
                              MetricType::Gauge, (*stat)[24] * page_bytes));
    if (const auto boot = BootTime()) {
      families.push_back(Single("process_start_time_seconds",
                                "When the process started, since the epoch",
                                MetricType::Gauge,
                                *boot + (*stat)[22] / ticks));
    }
  }
  if (const auto open = OpenFiles()) {
    families.push_back(Single("process_open_fds", "Open file descriptors",
                              MetricType::Gauge, *open));
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.push_back(
        Single("process_max_fds", "File descriptors that may be open",
               MetricType::Gauge, static_cast<double>(limit.rlim_cur)));
  }
  return families;
}

}  // namespace mla::server

// Percentiles of measured latencies, for people and as JSON.
// Threads: none of its own. Units: seconds.
#ifndef MLA_SERVER_COMMANDS_LATENCY_REPORT_H_
#define MLA_SERVER_COMMANDS_LATENCY_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mla::server {

// The smallest sample that at least `percent` of all samples do not exceed
// (nearest rank); 0 when there are none. `sorted` ascends.
double Percentile(const std::vector<double>& sorted, double percent);

struct LatencyReport {
  size_t count = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p95 = 0;
  double p99 = 0;
  double max = 0;

  static LatencyReport Of(std::vector<double> seconds);
  nlohmann::json ToJson() const;
  // One line, in milliseconds, under Header().
  std::string Row(const std::string& name) const;
  static std::string Header();
};

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_LATENCY_REPORT_H_

// What Prometheus' client libraries report of a process, from Linux's /proc.
// Threads: any.
// Units:   seconds, bytes.
// Source:  https://prometheus.io/docs/instrumenting/writing_clientlibs/
#ifndef MLA_SERVER_PROCESS_METRICS_H_
#define MLA_SERVER_PROCESS_METRICS_H_

#include <prometheus/metric_family.h>

#include <vector>

namespace mla::server {

// Families whose source cannot be read are left out.
std::vector<prometheus::MetricFamily> ProcessMetrics();

}  // namespace mla::server

#endif  // MLA_SERVER_PROCESS_METRICS_H_

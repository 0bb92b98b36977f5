// Metrics: what Prometheus sees of the runtime.
// Owns:    the registry; the server adds its own families to it.
// Threads: any.
// Units:   seconds, bytes and tokens. No label ever holds a request's or a
//          client's data, so the number of series is bounded.
#ifndef MLA_RUNTIME_METRICS_H_
#define MLA_RUNTIME_METRICS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "prometheus/registry.h"
#include "runtime/engine_stats.h"
#include "runtime/mutex.h"
#include "runtime/token_sink.h"

namespace mla::runtime {

class Metrics {
 public:
  explicit Metrics(const std::string& model_name);
  ~Metrics();

  prometheus::Registry& registry() { return registry_; }
  const std::string& model_name() const { return model_name_; }

  // Everything for one scrape. The cache's gauges come from one snapshot, so
  // that free + active + cached + reserved equal the total in every scrape.
  std::vector<prometheus::MetricFamily> Collect() const;

  void SetStats(const EngineStats& stats);

  // A request that has ended with all its choices finished.
  void ObserveRequest(const Summary& summary, int choices);

  prometheus::Counter* prompt_tokens_computed;
  prometheus::Counter* prompt_tokens_cached;
  prometheus::Counter* generation_tokens;
  prometheus::Counter* prefix_cache_queries_tokens;
  prometheus::Counter* prefix_cache_hits_tokens;
  prometheus::Counter* preemptions;
  prometheus::Counter* deadline_drops;
  prometheus::Counter* cancellations;
  prometheus::Counter* corrupted_requests;

  prometheus::Histogram* ttft_seconds;
  prometheus::Histogram* itl_seconds;
  prometheus::Histogram* step_tokens;
  prometheus::Histogram* step_schedule_seconds;
  prometheus::Histogram* step_forward_seconds;
  prometheus::Histogram* step_sample_seconds;

 private:
  const std::string model_name_;
  prometheus::Registry registry_;
  prometheus::Histogram* tpot_seconds_;
  prometheus::Histogram* e2e_seconds_;
  prometheus::Histogram* queue_seconds_;
  prometheus::Histogram* prefill_seconds_;
  prometheus::Histogram* decode_seconds_;
  prometheus::Histogram* prompt_tokens_;
  prometheus::Histogram* generation_tokens_;

  mutable Mutex mu_;
  EngineStats stats_ ABSL_GUARDED_BY(mu_);
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_METRICS_H_

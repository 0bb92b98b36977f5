// Tested by tests/runtime/engine_test.cc and, as promtool reads it, by
// tests/e2e.
#include "runtime/metrics.h"

#include <algorithm>
#include <utility>

#include "prometheus/family.h"
#include "runtime/version.h"

namespace mla::runtime {
namespace {

using prometheus::ClientMetric;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Buckets = Histogram::BucketBoundaries;

// vLLM's buckets, extended downwards: a small model on a CPU is faster than
// they foresee.
const Buckets kTtftBuckets = {.001, .005, .01, .02, .04, .06, .08, .1,
                              .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                              20,   40,   80,  160, 640, 2560};
const Buckets kItlBuckets = {.002, .004, .006, .008, .01, .015, .025, .05,
                             .075, .1,   .15,  .2,   .3,  .4,   .5,   .75,
                             1,    2.5,  5,    7.5,  10,  20,   40,   80};
const Buckets kPhaseBuckets = {.01, .02, .05, .1,  .2,  .3,  .5,   .8,  1,
                               1.5, 2,   2.5, 5,   10,  15,  20,   30,  40,
                               50,  60,  120, 240, 480, 960, 1920, 7680};
const Buckets kStepBuckets = {.0001, .00025, .0005, .001, .0025, .005, .01,
                              .025,  .05,    .1,    .25,  .5,    1,    2.5};
const Buckets kStepTokenBuckets = {1,   2,   4,    8,    16,   32,   64,   128,
                                   256, 512, 1024, 2048, 4096, 8192, 16384};

// 1, 2, 5, 10, ... up to a million tokens.
Buckets LengthBuckets() {
  Buckets buckets;
  for (double decade = 1; decade <= 1e6; decade *= 10) {
    for (double step : {1.0, 2.0, 5.0}) buckets.push_back(decade * step);
  }
  return buckets;
}

MetricFamily Gauge(const std::string& name, const std::string& help) {
  return {name, help, MetricType::Gauge, {}};
}

void AddValue(MetricFamily& family, const std::string& model, double value,
              std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.label.push_back({"model", model});
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily SingleGauge(const std::string& name, const std::string& help,
                         const std::string& model, double value) {
  MetricFamily family = Gauge(name, help);
  AddValue(family, model, value);
  return family;
}

std::vector<MetricFamily> StatsFamilies(const EngineStats& stats,
                                        const std::string& model) {
  const CacheStats& c = stats.cache;
  const std::pair<const char*, int64_t> states[] = {
      {"active", c.active_blocks},
      {"cached", c.cached_blocks},
      {"free", c.free_blocks},
      {"reserved", c.reserved_blocks}};
  MetricFamily bytes =
      Gauge("mla_kv_bytes", "Bytes of the latent cache's blocks by state");
  MetricFamily blocks =
      Gauge("mla_kv_blocks", "Blocks of the latent cache by state");
  for (const auto& [state, count] : states) {
    AddValue(bytes, model, static_cast<double>(count * c.block_bytes),
             {{"state", state}});
    AddValue(blocks, model, static_cast<double>(count), {{"state", state}});
  }
  MetricFamily tokens =
      Gauge("mla_kv_tokens", "Tokens whose rows are in the cache by state");
  AddValue(tokens, model, static_cast<double>(c.active_tokens),
           {{"state", "active"}});
  AddValue(tokens, model, static_cast<double>(c.cached_tokens),
           {{"state", "cached"}});
  const double used =
      c.total_blocks == 0
          ? 0
          : static_cast<double>(c.active_blocks) / c.total_blocks;
  return {
      std::move(bytes),
      std::move(blocks),
      std::move(tokens),
      SingleGauge("mla_kv_bytes_per_token",
                  "Bytes one token takes in the caches of all layers", model,
                  c.bytes_per_token),
      SingleGauge("mla_kv_block_size_tokens", "Tokens one block holds", model,
                  c.block_tokens),
      SingleGauge("mla_kv_cache_usage_ratio",
                  "Share of the blocks that live sequences hold", model, used),
      SingleGauge("mla_requests_running", "Requests being computed", model,
                  stats.running_requests),
      SingleGauge("mla_requests_waiting", "Requests accepted and not started",
                  model, stats.waiting_requests),
  };
}

}  // namespace

Metrics::Metrics(const std::string& model_name) : model_name_(model_name) {
  const prometheus::Labels model = {{"model", model_name}};
  const auto counter = [&](const char* name, const char* help,
                           prometheus::Labels labels = {}) {
    labels.insert(model.begin(), model.end());
    return &prometheus::BuildCounter()
                .Name(name)
                .Help(help)
                .Register(registry_)
                .Add(labels);
  };
  const auto histogram = [&](const char* name, const char* help,
                             const Buckets& buckets,
                             prometheus::Labels labels = {}) {
    labels.insert(model.begin(), model.end());
    return &prometheus::BuildHistogram()
                .Name(name)
                .Help(help)
                .Register(registry_)
                .Add(labels, buckets);
  };

  const char* prompt_help = "Prompt tokens by where their rows came from";
  prompt_tokens_computed =
      counter("mla_prompt_tokens_total", prompt_help, {{"source", "computed"}});
  prompt_tokens_cached =
      counter("mla_prompt_tokens_total", prompt_help, {{"source", "cached"}});
  generation_tokens =
      counter("mla_generation_tokens_total", "Tokens generated");
  prefix_cache_queries_tokens =
      counter("mla_prefix_cache_queries_tokens_total",
              "Prompt tokens looked up in the prefix cache");
  prefix_cache_hits_tokens = counter("mla_prefix_cache_hits_tokens_total",
                                     "Prompt tokens found there");
  preemptions = counter("mla_preemptions_total",
                        "Sequences whose blocks were taken, to be recomputed");
  deadline_drops =
      counter("mla_deadline_drops_total", "Requests ended by their deadline");
  cancellations =
      counter("mla_cancellations_total", "Requests ended by their client");
  corrupted_requests =
      counter("mla_corrupted_requests_total",
              "Requests ended because their logits were not finite");

  ttft_seconds = histogram("mla_request_ttft_seconds",
                           "Time from a request's arrival to its first token",
                           kTtftBuckets);
  itl_seconds = histogram("mla_request_itl_seconds",
                          "Time between tokens of a choice", kItlBuckets);
  tpot_seconds_ =
      histogram("mla_request_tpot_seconds",
                "Mean time per token after a request's first", kItlBuckets);
  e2e_seconds_ =
      histogram("mla_request_e2e_seconds",
                "Time from a request's arrival to its end", kPhaseBuckets);
  queue_seconds_ =
      histogram("mla_request_queue_seconds",
                "Time from a request's arrival to its start", kPhaseBuckets);
  prefill_seconds_ = histogram("mla_request_prefill_seconds",
                               "Time from a request's start to its first token",
                               kPhaseBuckets);
  decode_seconds_ =
      histogram("mla_request_decode_seconds",
                "Time from a request's first token to its end", kPhaseBuckets);
  prompt_tokens_ = histogram("mla_request_prompt_tokens",
                             "Prompt tokens per request", LengthBuckets());
  generation_tokens_ =
      histogram("mla_request_generation_tokens", "Tokens generated per request",
                LengthBuckets());
  step_tokens = histogram("mla_step_tokens", "Tokens computed per step",
                          kStepTokenBuckets);
  const char* step_help = "Time per step by phase";
  step_schedule_seconds = histogram("mla_step_seconds", step_help, kStepBuckets,
                                    {{"phase", "schedule"}});
  step_forward_seconds = histogram("mla_step_seconds", step_help, kStepBuckets,
                                   {{"phase", "forward"}});
  step_sample_seconds = histogram("mla_step_seconds", step_help, kStepBuckets,
                                  {{"phase", "sample"}});

  prometheus::BuildGauge()
      .Name("mla_build_info")
      .Help("The build that runs; always 1")
      .Register(registry_)
      .Add({{"version", Version()}})
      .Set(1);
}

Metrics::~Metrics() = default;

std::vector<MetricFamily> Metrics::Collect() const {
  EngineStats stats;
  {
    MutexLock lock(&mu_);
    stats = stats_;
  }
  std::vector<MetricFamily> families = registry_.Collect();
  for (MetricFamily& family : StatsFamilies(stats, model_name_)) {
    families.push_back(std::move(family));
  }
  return families;
}

void Metrics::SetStats(const EngineStats& stats) {
  MutexLock lock(&mu_);
  stats_ = stats;
}

void Metrics::ObserveRequest(const Summary& summary, int choices) {
  const Timings& t = summary.timings;
  const auto seconds = [](absl::Duration d) {
    return absl::ToDoubleSeconds(d);
  };
  e2e_seconds_->Observe(seconds(t.total));
  queue_seconds_->Observe(seconds(t.queue));
  prompt_tokens_->Observe(summary.usage.prompt_tokens);
  generation_tokens_->Observe(summary.usage.generated_tokens);
  if (summary.usage.generated_tokens == 0) return;
  prefill_seconds_->Observe(seconds(t.ttft - t.queue));
  decode_seconds_->Observe(seconds(t.total - t.ttft));
  const int later = summary.usage.generated_tokens - choices;
  if (later > 0) {
    tpot_seconds_->Observe(seconds(t.total - t.ttft) * choices / later);
  }
}

}  // namespace mla::runtime

// mlaserve bench engine: speed of the engine without a network.
//
// For each concurrency, that many requests arrive at once and end after a fixed
// number of tokens. Prefill speed is that of all prompts up to the last one's
// first token. Decode speed is counted while all of them decode: from the last
// first token to the first end.
// Tested by tests/e2e/commands_test.py.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "runtime/engine.h"
#include "runtime/loaded_model.h"
#include "runtime/metrics.h"
#include "runtime/status_macros.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/commands/latency_report.h"
#include "server/load_flags.h"

namespace mla::server {
namespace {

struct BenchOptions {
  std::string model;
  int prompt_tokens = 512;
  int generate_tokens = 64;
  std::vector<int> concurrency = {1, 8, 32};
  int repeat = 1;
  bool json = false;
  kernels::DType kv_dtype = kernels::DType::kBF16;
  runtime::LoadOptions load;
};

// Notes when each token of one request came. Written by the engine thread,
// read once done() has been notified.
class TimingSink : public runtime::TokenSink {
 public:
  void OnTokens(runtime::TokenDelta delta) override {
    times_.insert(times_.end(), delta.token_ids.size(), absl::Now());
  }
  void OnDone(absl::Status status, const runtime::Summary&) override {
    status_ = status;
    done_.Notify();
  }

  void Wait() { done_.WaitForNotification(); }
  const absl::Status& status() const { return status_; }
  const std::vector<absl::Time>& times() const { return times_; }

 private:
  absl::Notification done_;
  absl::Status status_;
  std::vector<absl::Time> times_;
};

struct Result {
  int concurrency = 0;
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
  LatencyReport ttft;
  LatencyReport itl;
};

runtime::Request MakeRequest(const BenchOptions& options, int vocab_size,
                             std::mt19937& random, int number) {
  runtime::Request request;
  request.id = absl::StrCat("bench-", number);
  for (int i = 0; i < options.prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<int32_t>(random() % vocab_size));
  }
  request.sampling.temperature = 0;
  request.stop.max_tokens = options.generate_tokens;
  request.stop.ignore_eos = true;
  return request;
}

Result Summarize(const BenchOptions& options, absl::Time start,
                 const std::vector<std::shared_ptr<TimingSink>>& sinks) {
  std::vector<double> ttft, itl;
  absl::Time all_started = absl::InfinitePast();
  absl::Time first_end = absl::InfiniteFuture();
  for (const auto& sink : sinks) {
    const std::vector<absl::Time>& t = sink->times();
    ttft.push_back(absl::ToDoubleSeconds(t.front() - start));
    for (size_t i = 1; i < t.size(); ++i) {
      itl.push_back(absl::ToDoubleSeconds(t[i] - t[i - 1]));
    }
    all_started = std::max(all_started, t.front());
    first_end = std::min(first_end, t.back());
  }
  int64_t decoded = 0;
  for (const auto& sink : sinks) {
    decoded += std::count_if(
        sink->times().begin(), sink->times().end(),
        [&](absl::Time t) { return t > all_started && t <= first_end; });
  }
  Result result;
  result.concurrency = static_cast<int>(sinks.size());
  result.prefill_tokens_per_second = static_cast<double>(sinks.size()) *
                                     options.prompt_tokens /
                                     absl::ToDoubleSeconds(all_started - start);
  if (first_end > all_started) {
    result.decode_tokens_per_second =
        decoded / absl::ToDoubleSeconds(first_end - all_started);
  }
  result.ttft = LatencyReport::Of(std::move(ttft));
  result.itl = LatencyReport::Of(std::move(itl));
  return result;
}

absl::StatusOr<Result> Measure(const BenchOptions& options,
                               const runtime::LoadedModel& model,
                               runtime::Engine& engine, int concurrency,
                               std::mt19937& random) {
  std::vector<runtime::Request> requests;
  std::vector<std::shared_ptr<TimingSink>> sinks;
  for (int i = 0; i < concurrency; ++i) {
    requests.push_back(
        MakeRequest(options, model.config.vocab_size, random, i));
    sinks.push_back(std::make_shared<TimingSink>());
    requests.back().sink = sinks.back();
  }
  const absl::Time start = absl::Now();
  for (runtime::Request& request : requests) {
    RETURN_IF_ERROR(engine.Submit(std::move(request)));
  }
  for (const auto& sink : sinks) sink->Wait();
  for (const auto& sink : sinks) RETURN_IF_ERROR(sink->status());
  engine.FlushCache();
  return Summarize(options, start, sinks);
}

absl::StatusOr<std::vector<Result>> RunAll(BenchOptions options) {
  const int most =
      *std::max_element(options.concurrency.begin(), options.concurrency.end());
  options.load.model.max_logit_rows = std::max(64, most);
  options.load.model.max_step_tokens =
      std::max(options.load.model.max_step_tokens, most);
  ASSIGN_OR_RETURN(const auto model,
                   runtime::LoadedModel::Load(options.model, options.load));
  runtime::Metrics metrics(model->name);
  runtime::EngineOptions engine_options;
  engine_options.kv_dtype = options.kv_dtype;
  engine_options.max_running = options.load.model.max_logit_rows;
  engine_options.max_step_tokens = options.load.model.max_step_tokens;
  engine_options.max_queued_requests = most;
  engine_options.max_queued_tokens = int64_t{most} * options.prompt_tokens;
  // Room for all, so that the figures hold no preemption.
  const int64_t tokens = options.prompt_tokens + options.generate_tokens +
                         engine_options.block_tokens;
  engine_options.kv_cache_bytes =
      most *
      model->config.BlockBytes(options.kv_dtype, static_cast<int>(tokens));
  ASSIGN_OR_RETURN(const auto engine,
                   runtime::Engine::Create(engine_options, *model, metrics));

  std::mt19937 random(1);
  BenchOptions warm_up = options;
  warm_up.generate_tokens = 8;
  RETURN_IF_ERROR(Measure(warm_up, *model, *engine, 1, random).status());
  std::vector<Result> results;
  for (int concurrency : options.concurrency) {
    std::vector<Result> tries;
    for (int i = 0; i < options.repeat; ++i) {
      ASSIGN_OR_RETURN(tries.emplace_back(),
                       Measure(options, *model, *engine, concurrency, random));
    }
    std::sort(tries.begin(), tries.end(), [](const Result& a, const Result& b) {
      return a.decode_tokens_per_second < b.decode_tokens_per_second;
    });
    results.push_back(tries[tries.size() / 2]);
  }
  return results;
}

int Run(const BenchOptions& options) {
  const absl::StatusOr<std::vector<Result>> results = RunAll(options);
  if (!results.ok()) return Fail("bench engine", results.status());
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Result& r : *results) {
    json.push_back({{"concurrency", r.concurrency},
                    {"prompt_tokens", options.prompt_tokens},
                    {"generate_tokens", options.generate_tokens},
                    {"prefill_tokens_per_second", r.prefill_tokens_per_second},
                    {"decode_tokens_per_second", r.decode_tokens_per_second},
                    {"ttft_seconds", r.ttft.ToJson()},
                    {"itl_seconds", r.itl.ToJson()}});
  }
  if (options.json) {
    std::cout << json.dump(2) << "\n";
    return 0;
  }
  std::cout << absl::StrFormat("%-12s %14s %14s %12s %12s %12s\n",
                               "concurrency", "prefill tok/s", "decode tok/s",
                               "TTFT p50 ms", "ITL p50 ms", "ITL p99 ms");
  for (const Result& r : *results) {
    std::cout << absl::StrFormat("%-12d %14.1f %14.1f %12.1f %12.2f %12.2f\n",
                                 r.concurrency, r.prefill_tokens_per_second,
                                 r.decode_tokens_per_second, r.ttft.p50 * 1e3,
                                 r.itl.p50 * 1e3, r.itl.p99 * 1e3);
  }
  return 0;
}

}  // namespace

void AddBenchEngine(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* command = parent.add_subcommand(
      "engine", "Measure the engine alone: no network, fixed lengths.");
  command
      ->add_option("--model", options->model,
                   "Hugging Face folder or .gguf file")
      ->required();
  command
      ->add_option("--prompt-tokens", options->prompt_tokens,
                   "Random tokens per prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--generate-tokens", options->generate_tokens,
                   "Tokens each request generates")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--concurrency", options->concurrency,
                   "Requests at once, a run for each: 1,8,32")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      ->add_option("--repeat", options->repeat,
                   "Runs of each; the median by decode speed is shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  AddLoadFlags(*command, options->load);
  AddKvDtypeFlag(*command, options->kv_dtype);
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

// mlaserve bench load: an open-loop load with percentiles.
// Tested by tests/e2e/.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_format.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/commands/latency_report.h"
#include "server/commands/load_generator.h"

namespace mla::server {
namespace {

struct BenchLoadOptions {
  std::string target = kDefaultTarget;
  LoadOptions load;
  bool json = false;
};

void PrintJson(const LoadOptions& load, const LoadResult& result) {
  const nlohmann::json out = {
      {"rate", load.rate},
      {"requests", load.requests},
      {"prompt_tokens_per_request", load.prompt_tokens},
      {"generate_tokens_per_request", load.generate_tokens},
      {"cancel_fraction", load.cancel_fraction},
      {"seed", load.seed},
      {"seconds", result.seconds},
      {"prompt_tokens", result.prompt_tokens},
      {"generated_tokens", result.generated_tokens},
      {"generated_tokens_per_second", result.generated_tokens / result.seconds},
      {"cancelled", result.cancelled},
      {"by_code", result.by_code},
      {"ttft_seconds", LatencyReport::Of(result.ttft).ToJson()},
      {"itl_seconds", LatencyReport::Of(result.itl).ToJson()},
      {"e2e_seconds", LatencyReport::Of(result.e2e).ToJson()},
  };
  std::cout << out.dump(2) << "\n";
}

void PrintTable(const LoadResult& result) {
  std::cout << LatencyReport::Header() << "\n"
            << LatencyReport::Of(result.ttft).Row("ttft") << "\n"
            << LatencyReport::Of(result.itl).Row("itl") << "\n"
            << LatencyReport::Of(result.e2e).Row("e2e") << "\n"
            << absl::StrFormat("%d tokens generated in %.2f s: %.1f tokens/s\n",
                               result.generated_tokens, result.seconds,
                               result.generated_tokens / result.seconds);
  for (const auto& [code, count] : result.by_code) {
    std::cout << absl::StrFormat("%s %d\n", code, count);
  }
  if (result.cancelled > 0) {
    std::cout << absl::StrFormat("cancelled on purpose %d\n", result.cancelled);
  }
}

int Run(const BenchLoadOptions& options) {
  constexpr absl::Duration kConnectTimeout = absl::Seconds(10);
  const auto channel = MakeChannel(options.target);
  const absl::Status connected =
      Connect(*channel, options.target, kConnectTimeout);
  if (!connected.ok()) return Fail("bench load", connected);
  const auto result = RunLoad(channel, options.load);
  if (!result.ok()) return Fail("bench load", result.status());
  if (options.json) {
    PrintJson(options.load, *result);
  } else {
    PrintTable(*result);
  }
  return 0;
}

}  // namespace

void AddBenchLoad(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<BenchLoadOptions>();
  LoadOptions& load = options->load;
  CLI::App* command = parent.add_subcommand(
      "load", "Load a running server with requests that arrive at random.");
  command->add_option("--target", options->target, "The server's gRPC address")
      ->capture_default_str();
  command->add_option("--rate", load.rate, "Requests a second, on average")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--requests", load.requests, "Requests in all")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command
      ->add_option("--concurrency", load.concurrency,
                   "Calls open at once at most; later ones are late, and their "
                   "latency counts from when they were due. 0: no cap")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--prompt-tokens", load.prompt_tokens,
                   "Random tokens in each prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--generate-tokens", load.generate_tokens,
                   "Tokens each request generates")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--cancel-fraction", load.cancel_fraction,
                   "Share of requests that are cancelled on the way")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--seed", load.seed,
                   "Same seed: same arrivals, prompts and cancellations")
      ->capture_default_str();
  command
      ->add_option("--timeout-seconds", load.timeout_seconds,
                   "Deadline of each request")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object instead");
  command->footer(
      "Arrivals are Poisson and do not wait for answers (open loop).\n"
      "ttft: due to first token; itl: between tokens; e2e: due to end.\n\n"
      "Example: mlaserve bench load --rate 4 --requests 200 "
      "--prompt-tokens 256 --generate-tokens 64 --json");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

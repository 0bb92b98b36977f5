// Tested by tests/server/options_test.cc.
#include "server/options.h"

#include <CLI/CLI.hpp>
#include <limits>
#include <string>

#include "runtime/convert/conversion_spec.h"
#include "server/conversion_flags.h"
#include "server/load_flags.h"

namespace mla::server {
namespace {

constexpr int64_t kMaxCount = std::numeric_limits<int>::max();

void AddModelFlags(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--model", options.model,
                  "Hugging Face folder or .gguf file to serve")
      ->envname("MLA_MODEL")
      ->required()
      ->group("Model");
  command
      .add_option("--model-name", options.model_name,
                  "Name that clients ask for [last part of --model]")
      ->envname("MLA_MODEL_NAME")
      ->group("Model");
  AddLoadFlags(command, options.load);
}

void AddConversionFlags(CLI::App& command, ServeOptions& options) {
  constexpr char kGroup[] = "Conversion";
  command
      .add_option("--convert", options.convert,
                  std::string("Convert the model first, or take it from the "
                              "cache: ") +
                      runtime::kConversionSpecHelp)
      ->envname("MLA_CONVERT")
      ->group(kGroup);
  command
      .add_option("--convert-cache", options.convert_cache,
                  "Folder where converted models are kept "
                  "[$XDG_CACHE_HOME or ~/.cache, mlaserve/converted]")
      ->envname("MLA_CONVERT_CACHE")
      ->group(kGroup);
  AddCalibrationFlags(command, options.calibration);
}

void AddCacheFlags(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--kv-cache-bytes", options.engine.kv_cache_bytes,
                  "Memory of the latent cache, taken at start: 512M, 4G, ... "
                  "[on a CPU 1G, on a GPU nine tenths of what is free]")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->envname("MLA_KV_CACHE_BYTES")
      ->group("Cache");
  AddKvDtypeFlag(command, options.engine.kv_dtype);
  command
      .add_option("--block-tokens", options.engine.block_tokens,
                  "Tokens in one cache block")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->envname("MLA_BLOCK_TOKENS")
      ->group("Cache");
}

void AddSchedulerFlags(CLI::App& command, ServeOptions& options) {
  runtime::EngineOptions& engine = options.engine;
  command
      .add_option("--max-running", engine.max_running,
                  "Choices decoded together")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->capture_default_str()
      ->envname("MLA_MAX_RUNNING")
      ->group("Scheduler");
  command
      .add_option("--max-step-tokens", engine.max_step_tokens,
                  "Tokens computed in one step, prompts and decodes together")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str()
      ->envname("MLA_MAX_STEP_TOKENS")
      ->group("Scheduler");
  command
      .add_option("--max-queued-requests", engine.max_queued_requests,
                  "Requests that may wait; more are refused at once")
      ->check(CLI::Range(int64_t{1}, kMaxCount))
      ->capture_default_str()
      ->envname("MLA_MAX_QUEUED_REQUESTS")
      ->group("Scheduler");
  command
      .add_option("--max-queued-tokens", engine.max_queued_tokens,
                  "Prompt tokens that may wait")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str()
      ->envname("MLA_MAX_QUEUED_TOKENS")
      ->group("Scheduler");
}

void AddListenerFlags(CLI::App& command, ServeOptions& options) {
  constexpr char kGroup[] = "Listeners (HOST:PORT; port 0: any free one)";
  command
      .add_option("--grpc-listen", options.grpc_listen,
                  "gRPC for clients: generation, models, health, reflection")
      ->capture_default_str()
      ->envname("MLA_GRPC_LISTEN")
      ->group(kGroup);
  command
      .add_option("--http-listen", options.http_listen,
                  "HTTP for operators: /metrics, /healthz, /readyz")
      ->capture_default_str()
      ->envname("MLA_HTTP_LISTEN")
      ->group(kGroup);
  command
      .add_option("--admin-listen", options.admin_listen,
                  "gRPC for operators: AdminService")
      ->capture_default_str()
      ->envname("MLA_ADMIN_LISTEN")
      ->group(kGroup);
}

void AddLifetimeFlags(CLI::App& command, ServeOptions& options) {
  constexpr int kMaxSeconds = 24 * 60 * 60;
  command
      .add_option("--stream-stall-seconds", options.stream_stall_seconds,
                  "A stream whose client reads nothing for this long is ended")
      ->check(CLI::Range(1, kMaxSeconds))
      ->capture_default_str()
      ->envname("MLA_STREAM_STALL_SECONDS")
      ->group("Lifetime");
  command
      .add_option("--drain-delay-seconds", options.drain_delay_seconds,
                  "After SIGTERM, time for load balancers to look away before "
                  "new requests are refused")
      ->check(CLI::Range(0, kMaxSeconds))
      ->capture_default_str()
      ->envname("MLA_DRAIN_DELAY_SECONDS")
      ->group("Lifetime");
  command
      .add_option("--drain-timeout-seconds", options.drain_timeout_seconds,
                  "Time for accepted requests to end before they are cut off")
      ->check(CLI::Range(0, kMaxSeconds))
      ->capture_default_str()
      ->envname("MLA_DRAIN_TIMEOUT_SECONDS")
      ->group("Lifetime");
}

}  // namespace

void AddServeFlags(CLI::App& command, ServeOptions& options) {
  // Scripts append to a command line that already has the flag.
  command.option_defaults()->multi_option_policy(
      CLI::MultiOptionPolicy::TakeLast);
  AddModelFlags(command, options);
  AddConversionFlags(command, options);
  AddCacheFlags(command, options);
  AddSchedulerFlags(command, options);
  AddListenerFlags(command, options);
  AddLifetimeFlags(command, options);
}

}  // namespace mla::server

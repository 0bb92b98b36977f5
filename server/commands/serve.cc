// mlaserve serve: runs until SIGTERM or SIGINT, then drains.
// Tested by tests/e2e/.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "server/commands/commands.h"
#include "server/commands/stop_signals.h"
#include "server/log.h"
#include "server/options.h"
#include "server/serving.h"

namespace mla::server {
namespace {

struct ServeCommand {
  ServeOptions options;
  std::string log_level = "info";
};

int Run(const ServeCommand& command) {
  InitLogging(spdlog::level::from_str(command.log_level));
  StopSignals& stop = StopSignals::Install();
  signal(SIGPIPE, SIG_IGN);

  ServeOptions options = command.options;
  options.engine.on_failure = [&stop](const absl::Status&) { stop.Stop(); };
  auto serving = Serving::Start(options, [&] { stop.Arm(); });
  if (!serving.ok()) {
    std::cerr << "mlaserve serve: " << serving.status().message() << "\n";
    return 1;
  }
  stop.Wait();
  const bool failed = !(*serving)->engine().status().ok();
  const bool all_done = (*serving)->Drain();
  if (failed) {
    Log().error("the device failed, a restart is needed");
  } else if (all_done) {
    Log().info("drained, every accepted request ended");
  } else {
    Log().warn("drain timed out, the rest is cut off");
  }
  serving->reset();
  return all_done && !failed ? 0 : 1;
}

}  // namespace

void AddServe(CLI::App& parent, int& exit_code) {
  const auto command = std::make_shared<ServeCommand>();
  CLI::App* serve = parent.add_subcommand(
      "serve", "Serve a model over gRPC until SIGTERM or SIGINT.");
  AddServeFlags(*serve, command->options);
  serve
      ->add_option("--log-level", command->log_level,
                   "Least level that is logged, on standard error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str()
      ->envname("MLA_LOG_LEVEL")
      ->group("Logging");
  serve->footer(
      "Every flag can be set by the environment variable named beside it.\n"
      "SIGTERM or SIGINT drains: health turns NOT_SERVING, new requests are\n"
      "refused with UNAVAILABLE, accepted ones end; exit status 0 if all did.\n"
      "If the device fails, all end with UNAVAILABLE; exit status 1.\n"
      "A second signal stops at once.\n\n"
      "Example: mlaserve serve --model SmolLM2.gguf --kv-cache-bytes 512M");
  serve->callback([command, &exit_code] { exit_code = Run(*command); });
}

}  // namespace mla::server

// mlaserve: one binary, one subcommand for each thing it does.
#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "runtime/version.h"
#include "server/commands/commands.h"
#include "server/log.h"

int main(int argc, char** argv) {
  mla::server::LogToStandardError();
  int exit_code = 0;
  CLI::App app("Serves language models with a latent KV cache over gRPC.",
               "mlaserve");
  app.set_version_flag("--version", mla::runtime::Version());
  app.require_subcommand(1);

  mla::server::AddServe(app, exit_code);
  mla::server::AddConvert(app, exit_code);
  mla::server::AddGenerate(app, exit_code);
  mla::server::AddHealth(app, exit_code);
  mla::server::AddInspect(app, exit_code);
  mla::server::AddPerplexity(app, exit_code);
  mla::server::AddVerify(app, exit_code);
  CLI::App* bench = app.add_subcommand("bench", "Measure speed and latency.");
  bench->require_subcommand(1);
  mla::server::AddBenchAttention(*bench, exit_code);
  mla::server::AddBenchEngine(*bench, exit_code);
  mla::server::AddBenchLoad(*bench, exit_code);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // also --help and --version
    return app.exit(error);
  } catch (const std::exception& error) {
    std::cerr << "mlaserve: " << error.what() << "\n";
    return 1;
  }
  return exit_code;
}

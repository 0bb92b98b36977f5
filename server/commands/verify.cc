// mlaserve verify: a model held against recorded outputs.
// Tested by tests/e2e/commands_test.py.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"
#include "runtime/verify/model_golden.h"
#include "runtime/verify/text_golden.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/load_flags.h"

namespace mla::server {
namespace {

struct VerifyCommandOptions {
  std::string folder;
  std::string model;
  bool json = false;
  runtime::LoadOptions load;
  runtime::VerifyOptions verify;

  VerifyCommandOptions() { load.model.weights_dtype = kernels::DType::kF32; }
};

absl::StatusOr<runtime::Report> Verify(const VerifyCommandOptions& options) {
  const std::string model =
      options.model.empty() ? options.folder : options.model;
  runtime::Report report;
  const bool text = runtime::HasTextGoldens(options.folder);
  if (text) {
    ASSIGN_OR_RETURN(const runtime::TextModel text_model,
                     runtime::LoadTextModel(model));
    RETURN_IF_ERROR(
        runtime::VerifyTextGoldens(text_model, options.folder, report));
  }
  if (std::filesystem::exists(options.folder + "/golden.json")) {
    ASSIGN_OR_RETURN(const auto loaded,
                     runtime::LoadedModel::Load(model, options.load));
    runtime::VerifyOptions verify = options.verify;
    const bool in_float_already =
        options.load.model.weights_dtype == kernels::DType::kF32 &&
        options.verify.kv_dtype == kernels::DType::kF32;
    std::unique_ptr<runtime::LoadedModel> in_float;
    if (loaded->config.Chooses() && !in_float_already) {
      runtime::LoadOptions load = options.load;
      load.model.weights_dtype = kernels::DType::kF32;
      if (!loaded->model->backend().CheckWeights(kernels::DType::kF32).ok()) {
        load.backend.name = "cpu";
      }
      ASSIGN_OR_RETURN(in_float, runtime::LoadedModel::Load(model, load));
      verify.routing = in_float->model.get();
    }
    RETURN_IF_ERROR(
        runtime::VerifyModelGolden(*loaded, options.folder, verify, report));
  } else if (!text) {
    return absl::NotFoundError(
        absl::StrCat(options.folder,
                     " holds neither golden.json nor encode, decode or "
                     "chat.jsonl"));
  }
  return report;
}

void Print(const runtime::Report& report) {
  std::cout << absl::StrFormat("%-6s %-46s %10s %10s  %s\n", "", "check",
                               "error", "bound", "where");
  int failed = 0;
  for (const runtime::Check& check : report.checks) {
    failed += !check.passed();
    std::cout << absl::StrFormat("%-6s %-46s %10.3g %10.3g  %s\n",
                                 check.passed() ? "ok" : "FAILED", check.name,
                                 check.error, check.bound, check.detail);
  }
  for (const std::string& note : report.notes) std::cout << note << "\n";
  std::cout << absl::StrFormat("%d checks, %d failed\n", report.checks.size(),
                               failed);
}

void PrintJson(const runtime::Report& report) {
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  for (const runtime::Check& check : report.checks) {
    checks.push_back({{"name", check.name},
                      {"error", check.error},
                      {"bound", check.bound},
                      {"detail", check.detail},
                      {"passed", check.passed()}});
  }
  std::cout << nlohmann::ordered_json{{"passed", report.passed()},
                                      {"checks", checks},
                                      {"notes", report.notes}}
                   .dump(2)
            << "\n";
}

int Run(const VerifyCommandOptions& options) {
  const absl::StatusOr<runtime::Report> report = Verify(options);
  if (!report.ok()) return Fail("verify", report.status());
  options.json ? PrintJson(*report) : Print(*report);
  return report->passed() ? 0 : 1;
}

}  // namespace

void AddVerify(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<VerifyCommandOptions>();
  CLI::App* command =
      parent.add_subcommand("verify", "Hold a model against recorded outputs.");
  command
      ->add_option("folder", options->folder,
                   "Folder with golden.json and golden.safetensors (logits, "
                   "activations, greedy tokens, perplexity), or with encode, "
                   "decode and chat.jsonl")
      ->required();
  command->add_option("--model", options->model,
                      "Hugging Face folder or .gguf file [the folder itself]");
  command->add_flag("--json", options->json, "Print JSON");
  AddLoadFlags(*command, options->load);
  AddKvDtypeFlag(*command, options->verify.kv_dtype);
  command->footer(
      "Prints each error and the bound it is held to. Exit status 1: one was "
      "past it.");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

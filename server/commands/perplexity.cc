// mlaserve perplexity: how well a model predicts a text.
// Tested by tests/e2e/commands_test.py.
#include <CLI/CLI.hpp>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/verify/sequence_runner.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/load_flags.h"

namespace mla::server {
namespace {

struct PerplexityOptions {
  std::string model;
  std::string text;
  int windows = 8;
  int window_tokens = 512;
  kernels::DType kv_dtype = kernels::DType::kBF16;
  bool json = false;
  runtime::LoadOptions load;
};

// The text's tokens, cut to the windows asked for.
absl::StatusOr<std::vector<int32_t>> ReadTokens(
    const PerplexityOptions& options, const runtime::LoadedModel& model) {
  std::ifstream in(options.text, std::ios::binary);
  if (!in) {
    return absl::NotFoundError(absl::StrCat("cannot open ", options.text));
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (model.tokenizer == nullptr) {
    return absl::FailedPreconditionError("the model has no tokenizer");
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                   model.tokenizer->Encode(text, {.add_special = false}));
  const size_t wanted = size_t(options.windows) * options.window_tokens;
  if (ids.size() < wanted) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.text, " has ", ids.size(), " tokens, ", options.windows,
        " windows of ", options.window_tokens, " need ", wanted));
  }
  ids.resize(wanted);
  return ids;
}

absl::StatusOr<double> MeanNll(const PerplexityOptions& options) {
  ASSIGN_OR_RETURN(const auto model,
                   runtime::LoadedModel::Load(options.model, options.load));
  if (options.window_tokens > model->config.max_position) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--window-tokens ", options.window_tokens,
        " exceeds the model's context of ", model->config.max_position));
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadTokens(options, *model));
  ASSIGN_OR_RETURN(const auto runner, runtime::SequenceRunner::Create(
                                          *model->model, options.kv_dtype, 64,
                                          options.window_tokens));
  double total = 0;
  for (int w = 0; w < options.windows; ++w) {
    const absl::Span<const int32_t> window(
        ids.data() + size_t(w) * options.window_tokens, options.window_tokens);
    double sum = 0;
    for (double nll :
         runtime::TokenNll(*runner, window, model->config.vocab_size)) {
      sum += nll;
    }
    total += sum;
    std::cerr << absl::StrFormat("window %d of %d: nll %.4f\n", w + 1,
                                 options.windows,
                                 sum / (options.window_tokens - 1));
  }
  return total / options.windows / (options.window_tokens - 1);
}

int Run(const PerplexityOptions& options) {
  const absl::StatusOr<double> nll = MeanNll(options);
  if (!nll.ok()) return Fail("perplexity", nll.status());
  if (options.json) {
    std::cout << nlohmann::json{{"mean_nll", *nll},
                                {"perplexity", std::exp(*nll)}}
              << "\n";
  } else {
    std::cout << absl::StrFormat("mean nll %.6f, perplexity %.4f\n", *nll,
                                 std::exp(*nll));
  }
  return 0;
}

}  // namespace

void AddPerplexity(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = parent.add_subcommand(
      "perplexity", "Measure how well a model predicts a text.");
  command
      ->add_option("--model", options->model,
                   "Hugging Face folder or .gguf file")
      ->required();
  command->add_option("--text", options->text, "UTF-8 file to score")
      ->required();
  command
      ->add_option("--windows", options->windows,
                   "Windows to score, from the text's start, each alone")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--window-tokens", options->window_tokens,
                   "Tokens per window")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_flag("--json", options->json,
                    "Print {\"mean_nll\": .., \"perplexity\": ..}");
  AddLoadFlags(*command, options->load);
  AddKvDtypeFlag(*command, options->kv_dtype);
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

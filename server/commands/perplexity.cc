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
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/convert/logit_comparison.h"
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
  bool kl = false;
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

// Means over all scored tokens, in nats.
struct Score {
  double nll = 0;
  // Beside the same model in f32.
  double f32_nll = 0;
  double kl = 0;    // KL(f32 || this)
  double top1 = 0;  // share where both think the same token the likeliest
};

// The model in f32, which says what a window's tokens are to be.
class Reference {
 public:
  static absl::StatusOr<std::unique_ptr<Reference>> Load(
      const PerplexityOptions& options) {
    auto reference = std::make_unique<Reference>();
    runtime::LoadOptions load = options.load;
    load.model.weights_dtype = kernels::DType::kF32;
    load.backend.name = "cpu";
    ASSIGN_OR_RETURN(reference->model_,
                     runtime::LoadedModel::Load(options.model, load));
    ASSIGN_OR_RETURN(reference->runner_,
                     runtime::SequenceRunner::Create(*reference->model_->model,
                                                     kernels::DType::kF32, 64,
                                                     options.window_tokens));
    return reference;
  }

  void Run(absl::Span<const int32_t> tokens) {
    logits_.clear();
    runner_->Prompt(tokens, 0, [&](int, const float* logits) {
      logits_.insert(logits_.end(), logits, logits + vocab_size());
    });
  }
  absl::Span<const float> At(int position) const {
    return {&logits_[size_t(position) * vocab_size()], vocab_size()};
  }

 private:
  size_t vocab_size() const { return model_->config.vocab_size; }

  std::unique_ptr<runtime::LoadedModel> model_;
  std::unique_ptr<runtime::SequenceRunner> runner_;
  std::vector<float> logits_;  // of one window
};

// Sums over one window.
Score ScoreWindow(runtime::SequenceRunner& runner, Reference& reference,
                  absl::Span<const int32_t> window, int vocab_size) {
  Score sum;
  const absl::Span<const int32_t> given = window.first(window.size() - 1);
  reference.Run(given);
  runner.Prompt(given, 0, [&](int position, const float* logits) {
    runtime::LogitComparison both(window[position + 1]);
    both.Add(reference.At(position), {logits, size_t(vocab_size)});
    sum.nll += both.converted_nll();
    sum.f32_nll += both.source_nll();
    sum.kl += both.Kl();
    sum.top1 += both.SameBest() ? 1 : 0;
  });
  return sum;
}

absl::StatusOr<Score> Measure(const PerplexityOptions& options) {
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
  std::unique_ptr<Reference> reference;
  if (options.kl) {
    ASSIGN_OR_RETURN(reference, Reference::Load(options));
  }
  Score total;
  for (int w = 0; w < options.windows; ++w) {
    const absl::Span<const int32_t> window(
        ids.data() + size_t(w) * options.window_tokens, options.window_tokens);
    Score sum;
    if (reference != nullptr) {
      sum = ScoreWindow(*runner, *reference, window, model->config.vocab_size);
    } else {
      for (double nll :
           runtime::TokenNll(*runner, window, model->config.vocab_size)) {
        sum.nll += nll;
      }
    }
    std::cerr << absl::StrFormat("window %d of %d: nll %.4f\n", w + 1,
                                 options.windows,
                                 sum.nll / (options.window_tokens - 1));
    total.nll += sum.nll;
    total.f32_nll += sum.f32_nll;
    total.kl += sum.kl;
    total.top1 += sum.top1;
  }
  const double tokens = double(options.windows) * (options.window_tokens - 1);
  for (double* mean : {&total.nll, &total.f32_nll, &total.kl, &total.top1}) {
    *mean /= tokens;
  }
  return total;
}

int Run(const PerplexityOptions& options) {
  const absl::StatusOr<Score> score = Measure(options);
  if (!score.ok()) return Fail("perplexity", score.status());
  nlohmann::ordered_json json{{"mean_nll", score->nll},
                              {"perplexity", std::exp(score->nll)}};
  std::string text = absl::StrFormat("mean nll %.6f, perplexity %.4f\n",
                                     score->nll, std::exp(score->nll));
  if (options.kl) {
    json["f32_perplexity"] = std::exp(score->f32_nll);
    json["kl"] = score->kl;
    json["top1_agreement"] = score->top1;
    absl::StrAppendFormat(&text,
                          "in f32 %.4f, KL from it %.6f nats a token, the same "
                          "token likeliest for %.2f %%\n",
                          std::exp(score->f32_nll), score->kl,
                          100 * score->top1);
  }
  std::cout << (options.json ? json.dump() + "\n" : text);
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
  command->add_flag("--kl", options->kl,
                    "Also load the model in f32 on the CPU, and print what "
                    "this one's predictions lose beside it; holds a window's "
                    "logits");
  command->add_flag("--json", options->json,
                    "Print {\"mean_nll\": .., \"perplexity\": ..}");
  AddLoadFlags(*command, options->load);
  AddKvDtypeFlag(*command, options->kv_dtype);
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

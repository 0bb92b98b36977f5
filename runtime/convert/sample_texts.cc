// Tested by tests/e2e/conversion_report_test.py.
#include "runtime/convert/sample_texts.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"
#include "runtime/verify/sequence_runner.h"

namespace mla::runtime {
namespace {

constexpr int kMaxTokens = 80;
constexpr int kBlockTokens = 64;

// Facts, an explanation, code and a language: what conversion loses first.
constexpr const char* kMessages[] = {
    "What is the capital of Australia, and on which river does Vienna lie?",
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "Translate into French: The train leaves at nine o'clock tomorrow."};
constexpr const char* kBeginnings[] = {
    "The capital of Australia is", "The sky is blue because",
    "def fibonacci(n):\n",
    "English: The train leaves at nine o'clock.\nFrench:"};

using Ids = std::vector<int32_t>;

absl::StatusOr<RenderedPrompt> RenderMessage(const ChatTemplate& chat,
                                             const std::string& message,
                                             absl::Time now) {
  ChatOptions options;
  options.now = now;
  return chat.Render({{{"role", "user"}, {"content", message}}}, options);
}

// What a model makes of prompts, and whether they are chats.
struct Prompts {
  bool chat = false;
  std::vector<std::string> texts;
  absl::Time now;  // what templates see
};

Prompts PromptsFor(const TextModel& model) {
  Prompts prompts{false, {}, absl::Now()};
  prompts.chat =
      model.chat_template.ok() &&
      RenderMessage(**model.chat_template, kMessages[0], prompts.now).ok();
  for (const char* text : prompts.chat ? kMessages : kBeginnings) {
    prompts.texts.emplace_back(text);
  }
  return prompts;
}

absl::StatusOr<Ids> Encode(const LoadedModel& model, const Prompts& prompts,
                           const std::string& text) {
  if (!prompts.chat) return model.tokenizer->Encode(text, {});
  RETURN_IF_ERROR(model.chat_template.status());
  ASSIGN_OR_RETURN(const RenderedPrompt rendered,
                   RenderMessage(**model.chat_template, text, prompts.now));
  return EncodePrompt(*model.tokenizer, rendered, PromptMarkup::kTemplateOnly);
}

// The likeliest token after the likeliest, until the end or the last that fits.
std::string Continue(const LoadedModel& model, SequenceRunner& runner,
                     const Ids& prompt, int max_tokens) {
  const auto best = [&](const float* logits) {
    return static_cast<int32_t>(
        std::max_element(logits, logits + model.config.vocab_size) - logits);
  };
  const auto last = static_cast<int>(prompt.size()) - 1;
  int32_t token = 0;
  runner.Prompt(prompt, last,
                [&](int, const float* logits) { token = best(logits); });
  Ids text;
  while (!std::binary_search(model.eos_token_ids.begin(),
                             model.eos_token_ids.end(), token)) {
    text.push_back(token);
    if (static_cast<int>(text.size()) >= max_tokens) break;
    token = best(runner.Generate(token));
  }
  return model.tokenizer->Decode(text, /*skip_special=*/true);
}

absl::StatusOr<std::vector<std::string>> Sample(const std::string& path,
                                                const Prompts& prompts,
                                                const LoadOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LoadedModel> model,
                   LoadedModel::Load(path, options));
  if (model->tokenizer == nullptr) {
    return absl::FailedPreconditionError(path + " has no tokenizer");
  }
  std::vector<std::string> texts;
  for (const std::string& text : prompts.texts) {
    ASSIGN_OR_RETURN(const Ids ids, Encode(*model, prompts, text));
    const int room = model->config.max_position - static_cast<int>(ids.size());
    if (ids.empty() || room < 1) {  // a context too short to say anything
      texts.emplace_back();
      continue;
    }
    const int tokens = std::min(room, kMaxTokens);
    ASSIGN_OR_RETURN(const auto runner,
                     SequenceRunner::Create(
                         *model->model, options.model.weights_dtype,
                         kBlockTokens, static_cast<int>(ids.size()) + tokens));
    texts.push_back(Continue(*model, *runner, ids, tokens));
  }
  return texts;
}

}  // namespace

absl::StatusOr<SampleTexts> SampleBoth(const std::string& source,
                                       const std::string& converted,
                                       const LoadOptions& options) {
  ASSIGN_OR_RETURN(const TextModel text, LoadTextModel(source));
  const Prompts prompts = PromptsFor(text);
  ASSIGN_OR_RETURN(const std::vector<std::string> before,
                   Sample(source, prompts, options));
  ASSIGN_OR_RETURN(const std::vector<std::string> after,
                   Sample(converted, prompts, options));
  SampleTexts samples{prompts.chat, kMaxTokens, {}};
  for (size_t i = 0; i < prompts.texts.size(); ++i) {
    samples.texts.push_back({prompts.texts[i], before[i], after[i]});
  }
  return samples;
}

}  // namespace mla::runtime

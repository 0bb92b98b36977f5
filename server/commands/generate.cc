// mlaserve generate: one prompt in, streamed text out.
// Tested by tests/e2e/.
#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "mla/serving/v1/generation.grpc.pb.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/grpc_status.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

struct GenerateOptions {
  std::string target = kDefaultTarget;
  double timeout_seconds = 600;
  std::string model;
  std::string prompt;
  bool chat = false;
  std::string system;

  // Unset: the server's, that is the model's.
  std::optional<uint32_t> max_tokens;
  std::optional<uint32_t> min_tokens;
  std::optional<float> temperature;
  std::optional<uint32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_eos = false;
};

void AddMessage(const std::string& role, const std::string& content,
                v1::ChatInput& chat) {
  v1::ChatMessage* message = chat.add_messages();
  message->set_role(role);
  message->set_content(content);
}

void SetSampling(const GenerateOptions& options, v1::SamplingParams& out) {
  if (options.temperature) out.set_temperature(*options.temperature);
  if (options.top_k) out.set_top_k(*options.top_k);
  if (options.top_p) out.set_top_p(*options.top_p);
  if (options.min_p) out.set_min_p(*options.min_p);
  if (options.repetition_penalty) {
    out.set_repetition_penalty(*options.repetition_penalty);
  }
  if (options.presence_penalty) {
    out.set_presence_penalty(*options.presence_penalty);
  }
  if (options.frequency_penalty) {
    out.set_frequency_penalty(*options.frequency_penalty);
  }
  if (options.seed) out.set_seed(*options.seed);
}

v1::GenerateRequest MakeRequest(const GenerateOptions& options,
                                const std::string& prompt) {
  v1::GenerateRequest request;
  request.set_model(options.model);
  if (options.chat) {
    if (!options.system.empty()) {
      AddMessage("system", options.system, *request.mutable_chat());
    }
    AddMessage("user", prompt, *request.mutable_chat());
  } else {
    request.set_text(prompt);
  }
  SetSampling(options, *request.mutable_sampling());
  v1::StopConditions& stop = *request.mutable_stop();
  if (options.max_tokens) stop.set_max_tokens(*options.max_tokens);
  if (options.min_tokens) stop.set_min_tokens(*options.min_tokens);
  for (const std::string& text : options.stop) stop.add_stop(text);
  stop.set_ignore_eos(options.ignore_eos);
  return request;
}

void PrintSummary(const v1::Summary& summary, const v1::Finish& finish) {
  const v1::Usage& usage = summary.usage();
  const v1::Timings& timings = summary.timings();
  const double decode_seconds =
      timings.total_seconds() - timings.time_to_first_token_seconds();
  const double rate = decode_seconds > 0 && usage.generated_tokens() > 1
                          ? (usage.generated_tokens() - 1) / decode_seconds
                          : 0;
  std::cerr << absl::StrFormat(
      "prompt %d tokens (%d cached), generated %d, finish %s\n"
      "queue %.3f s, first token %.3f s, total %.3f s, %.1f tokens/s\n",
      usage.prompt_tokens(), usage.cached_tokens(), usage.generated_tokens(),
      finish.reason() == v1::FINISH_REASON_STOP ? "stop" : "length",
      timings.queue_seconds(), timings.time_to_first_token_seconds(),
      timings.total_seconds(), rate);
}

int Run(const GenerateOptions& options) {
  std::string prompt = options.prompt;
  if (prompt == "-") {
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  const auto stub = v1::GenerationService::NewStub(MakeChannel(options.target));
  grpc::ClientContext context;
  context.set_deadline(
      absl::ToChronoTime(absl::Now() + absl::Seconds(options.timeout_seconds)));
  const auto reader = stub->Generate(&context, MakeRequest(options, prompt));
  v1::GenerateResponse response;
  v1::Finish finish;
  v1::Summary summary;
  while (reader->Read(&response)) {
    if (response.has_summary()) summary = response.summary();
    if (!response.has_chunk()) continue;
    std::cout << response.chunk().text() << std::flush;
    if (response.chunk().has_finish()) finish = response.chunk().finish();
  }
  std::cout << std::endl;
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return Fail("generate", FromGrpcStatus(status));
  PrintSummary(summary, finish);
  return 0;
}

void AddSamplingFlags(CLI::App& command, GenerateOptions& options) {
  constexpr char kGroup[] = "Sampling (default: the model's own)";
  command
      .add_option("--temperature", options.temperature,
                  "0 is greedy; 1 the model's own distribution")
      ->group(kGroup);
  command
      .add_option("--top-k", options.top_k,
                  "Only the K likeliest tokens; 0: all")
      ->group(kGroup);
  command
      .add_option("--top-p", options.top_p,
                  "Only the likeliest tokens that sum to P")
      ->group(kGroup);
  command
      .add_option("--min-p", options.min_p,
                  "Only tokens at least P times as likely as the likeliest")
      ->group(kGroup);
  command
      .add_option("--repetition-penalty", options.repetition_penalty,
                  "Above 1: tokens of prompt and answer get less likely")
      ->group(kGroup);
  command
      .add_option("--presence-penalty", options.presence_penalty,
                  "Taken off a token's logit once it was generated")
      ->group(kGroup);
  command
      .add_option("--frequency-penalty", options.frequency_penalty,
                  "Taken off a token's logit each time it was generated")
      ->group(kGroup);
  command
      .add_option("--seed", options.seed,
                  "Same seed, same answer; default: random")
      ->group(kGroup);
}

void AddStopFlags(CLI::App& command, GenerateOptions& options) {
  constexpr char kGroup[] = "Length";
  command
      .add_option("--max-tokens", options.max_tokens,
                  "Tokens to generate at most; default: what the context holds")
      ->group(kGroup);
  command
      .add_option("--min-tokens", options.min_tokens,
                  "No end of sequence before this many")
      ->group(kGroup);
  command
      .add_option("--stop", options.stop,
                  "Stop before this text; may be given several times")
      ->expected(1)
      ->take_all()
      ->group(kGroup);
  command
      .add_flag("--ignore-eos", options.ignore_eos,
                "Go on past the model's end of sequence")
      ->group(kGroup);
}

}  // namespace

void AddGenerate(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = parent.add_subcommand(
      "generate", "Send one prompt to a server and stream the answer.");
  command->add_option("--target", options->target, "The server's gRPC address")
      ->capture_default_str();
  command
      ->add_option("--timeout-seconds", options->timeout_seconds,
                   "The call's deadline, which the server honours too")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--model", options->model,
                      "A model by name; default: the one that is served");
  command
      ->add_option("--prompt", options->prompt,
                   "The prompt, or - to read it from standard input")
      ->required();
  command->add_flag("--chat", options->chat,
                    "Send the prompt as a user's message, through the model's "
                    "chat template");
  command
      ->add_option("--system", options->system,
                   "A system message before it; with --chat")
      ->needs("--chat");
  AddSamplingFlags(*command, *options);
  AddStopFlags(*command, *options);
  command->footer(
      "The text goes to standard output, usage and timings to standard error.\n"
      "Exit status 0, or 1 with the server's status on standard error.\n\n"
      "Example: mlaserve generate --prompt \"Why is the sky blue?\" --chat "
      "--max-tokens 64");
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace mla::server

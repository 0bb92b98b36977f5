// Tested by tests/runtime/chat_template_test.cc.
#include "runtime/chat/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/chat/context.h"
#include "runtime/chat/json_values.h"
#include "runtime/chat/parser.h"
#include "runtime/chat/statements.h"
#include "runtime/json.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;

absl::Status SetFromJson(jinja::Context& context, const std::string& name,
                         const ordered_json& json) {
  ASSIGN_OR_RETURN(jinja::Value value, jinja::FromJson(context.budget(), json));
  context.Set(name, std::move(value));
  return absl::OkStatus();
}

// The further variables, which may not hide what every template is given.
absl::Status SetExtra(jinja::Context& context, const ordered_json& extra) {
  if (extra.is_null()) return absl::OkStatus();
  if (!extra.is_object()) {
    return absl::InvalidArgumentError(
        "the further template variables are not an object");
  }
  for (const auto& [name, json] : extra.items()) {
    if (name == "messages" || name == "tools" || name == "documents" ||
        name == "add_generation_prompt") {
      return absl::InvalidArgumentError(
          absl::StrCat("template variable '", name, "' cannot be set"));
    }
    RETURN_IF_ERROR(SetFromJson(context, name, json));
  }
  return absl::OkStatus();
}

absl::Status CheckMessages(const ordered_json& messages) {
  if (!messages.is_array()) {
    return absl::InvalidArgumentError("the messages are not an array");
  }
  if (messages.empty()) {
    return absl::InvalidArgumentError(
        "Cannot apply chat template to an empty conversation. Provide at least "
        "one message.");
  }
  for (const ordered_json& message : messages) {
    if (!message.is_object()) {
      return absl::InvalidArgumentError("a message is not an object");
    }
  }
  return absl::OkStatus();
}

}  // namespace

ChatTemplate::ChatTemplate(
    std::unique_ptr<jinja::Block> body,
    absl::flat_hash_map<std::string, std::string> named_tokens)
    : body_(std::move(body)), named_tokens_(std::move(named_tokens)) {}

ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(
    std::string_view source,
    absl::flat_hash_map<std::string, std::string> named_tokens) {
  auto block = jinja::ParseTemplate(source);
  if (!block.ok()) {
    return absl::Status(
        block.status().code(),
        absl::StrCat("chat template, ", block.status().message()));
  }
  return std::unique_ptr<ChatTemplate>(
      new ChatTemplate(std::make_unique<jinja::Block>(*std::move(block)),
                       std::move(named_tokens)));
}

absl::StatusOr<RenderedPrompt> ChatTemplate::Render(
    const ordered_json& messages, const ChatOptions& options) const {
  RETURN_IF_ERROR(CheckMessages(messages));
  jinja::Context context(options.now);
  for (const auto& [name, text] : named_tokens_) {
    context.Set(name, jinja::Value::Of(text));
  }
  RETURN_IF_ERROR(SetExtra(context, options.extra));
  RETURN_IF_ERROR(SetFromJson(context, "messages", messages));
  RETURN_IF_ERROR(SetFromJson(context, "tools", options.tools));
  context.Set("documents", jinja::Value());
  context.Set("add_generation_prompt",
              jinja::Value::Of(options.add_generation_prompt));

  const auto flow = body_->Execute(context);
  if (flow.ok()) {
    const jinja::MarkedText output = context.TakeOutput();
    return RenderedPrompt{output.str(), output.TrustedRanges()};
  }
  if (context.raised()) return flow.status();
  return absl::Status(flow.status().code(),
                      absl::StrCat("chat template, line ", context.line(), ": ",
                                   flow.status().message()));
}

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  const RenderedPrompt& prompt,
                                                  PromptMarkup markup) {
  if (markup == PromptMarkup::kEverywhere) {
    return tokenizer.Encode(prompt.text,
                            {.add_special = false, .parse_special = true});
  }
  return tokenizer.EncodeTrusting(prompt.text, prompt.trusted,
                                  /*add_special=*/false);
}

absl::StatusOr<std::string> FindChatTemplate(
    std::string_view tokenizer_config) {
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(tokenizer_config));
  if (config.is_object() && config.contains("chat_template")) {
    const nlohmann::json& field = config["chat_template"];
    if (field.is_string()) return field.get<std::string>();
    for (const nlohmann::json& entry : field) {
      if (entry.is_object() && entry.contains("name") &&
          entry["name"] == "default" && entry.contains("template") &&
          entry["template"].is_string()) {
        return entry["template"].get<std::string>();
      }
    }
  }
  return absl::NotFoundError("tokenizer_config.json has no chat template");
}

}  // namespace mla::runtime

// Tested by tests/server/request_conversion_test.cc and
// tests/fuzz/request_fuzz.cc.
#include "server/chat_conversion.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/json.h"
#include "runtime/status_macros.h"
#include "server/error_details.h"
#include "server/limits.h"
#include "server/prompt_limits.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using Json = nlohmann::ordered_json;

absl::Status CheckCount(const char* field, int count, int least, int most) {
  if (count >= least && count <= most) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must have ", least, " to ", most,
                                          " entries, not ", count));
}

absl::StatusOr<Json> Parse(const std::string& field, const std::string& text,
                           Json::value_t type, const char* type_name) {
  auto parsed = runtime::ParseOrderedJson(text);
  if (!parsed.ok()) {
    return InvalidField(
        field, absl::StrCat("is not usable JSON: ", parsed.status().message()));
  }
  if (parsed->type() != type) {
    return InvalidField(field, absl::StrCat("must be a JSON ", type_name));
  }
  return parsed;
}

absl::StatusOr<Json> ConvertMessage(const v1::ChatMessage& message,
                                    const std::string& field) {
  if (message.role().empty() || message.role().size() > kMaxRoleBytes) {
    return InvalidField(absl::StrCat(field, ".role"),
                        absl::StrCat("must have 1 to ", kMaxRoleBytes,
                                     " bytes, not ", message.role().size()));
  }
  Json out = {{"role", message.role()}, {"content", message.content()}};
  if (!message.tool_calls_json().empty()) {
    ASSIGN_OR_RETURN(
        out["tool_calls"],
        Parse(absl::StrCat(field, ".tool_calls_json"),
              message.tool_calls_json(), Json::value_t::array, "array"));
  }
  return out;
}

absl::StatusOr<Json> ConvertMessages(const v1::ChatInput& chat) {
  RETURN_IF_ERROR(
      CheckCount("chat.messages", chat.messages_size(), 1, kMaxChatMessages));
  Json messages = Json::array();
  for (int i = 0; i < chat.messages_size(); ++i) {
    ASSIGN_OR_RETURN(Json message,
                     ConvertMessage(chat.messages(i),
                                    absl::StrCat("chat.messages[", i, "]")));
    messages.push_back(std::move(message));
  }
  return messages;
}

// Null when there are none: templates ask whether tools are there at all.
absl::StatusOr<Json> ConvertTools(const v1::ChatInput& chat) {
  if (chat.tools_json().empty()) return Json();
  RETURN_IF_ERROR(
      CheckCount("chat.tools_json", chat.tools_json_size(), 1, kMaxChatTools));
  Json tools = Json::array();
  for (int i = 0; i < chat.tools_json_size(); ++i) {
    ASSIGN_OR_RETURN(
        Json tool, Parse(absl::StrCat("chat.tools_json[", i, "]"),
                         chat.tools_json(i), Json::value_t::object, "object"));
    tools.push_back(std::move(tool));
  }
  return tools;
}

absl::StatusOr<Json> ConvertArguments(const v1::ChatInput& chat) {
  if (chat.template_arguments_json().empty()) return Json();
  return Parse("chat.template_arguments_json", chat.template_arguments_json(),
               Json::value_t::object, "object");
}

}  // namespace

absl::StatusOr<runtime::RenderedPrompt> RenderChat(
    const v1::ChatInput& chat, const runtime::LoadedModel& model) {
  if (!model.chat_template.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model '", model.name,
        "' cannot take a chat: ", model.chat_template.status().message()));
  }
  RETURN_IF_ERROR(CheckPromptBytes("chat", chat.ByteSizeLong(), model));
  ASSIGN_OR_RETURN(const Json messages, ConvertMessages(chat));
  runtime::ChatOptions options;
  ASSIGN_OR_RETURN(options.tools, ConvertTools(chat));
  ASSIGN_OR_RETURN(options.extra, ConvertArguments(chat));
  options.now = absl::Now();
  auto rendered = (*model.chat_template)->Render(messages, options);
  if (absl::IsInvalidArgument(rendered.status())) {
    return InvalidField("chat", absl::StrCat("is refused by the template: ",
                                             rendered.status().message()));
  }
  return rendered;
}

}  // namespace mla::server

// Tested by tests/server/request_conversion_test.cc and
// tests/fuzz/request_fuzz.cc.
#include "server/prompt_conversion.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/chat/chat_template.h"
#include "runtime/status_macros.h"
#include "server/chat_conversion.h"
#include "server/error_details.h"
#include "server/limits.h"
#include "server/prompt_limits.h"
#include "server/request_conversion.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

using TokenIds = std::vector<int32_t>;

absl::Status NeedTokenizer(const runtime::LoadedModel& model) {
  if (model.tokenizer != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "model '", model.name, "' came without a tokenizer; use token_ids"));
}

// What the tokenizer refuses is the client's text.
absl::StatusOr<TokenIds> NameField(const char* field,
                                   absl::StatusOr<TokenIds> ids) {
  if (ids.ok()) return ids;
  if (absl::IsInvalidArgument(ids.status())) {
    return InvalidField(field, std::string(ids.status().message()));
  }
  return absl::Status(ids.status().code(),
                      absl::StrCat(field, ": ", ids.status().message()));
}

absl::StatusOr<TokenIds> EncodeText(const std::string& text, bool add_special,
                                    const runtime::LoadedModel& model) {
  RETURN_IF_ERROR(NeedTokenizer(model));
  RETURN_IF_ERROR(CheckPromptBytes("text", text.size(), model));
  return NameField(
      "text", model.tokenizer->Encode(
                  text, {.add_special = add_special, .parse_special = false}));
}

absl::StatusOr<TokenIds> EncodeChat(const v1::ChatInput& chat,
                                    const runtime::LoadedModel& model) {
  RETURN_IF_ERROR(NeedTokenizer(model));
  ASSIGN_OR_RETURN(const runtime::RenderedPrompt prompt,
                   RenderChat(chat, model));
  RETURN_IF_ERROR(CheckPromptBytes("chat", prompt.text.size(), model));
  return NameField("chat",
                   runtime::EncodePrompt(*model.tokenizer, prompt,
                                         runtime::PromptMarkup::kTemplateOnly));
}

absl::StatusOr<TokenIds> CheckTokenIds(
    const google::protobuf::RepeatedField<uint32_t>& ids, const char* field,
    size_t max_ids, const runtime::LoadedModel& model) {
  if (static_cast<size_t>(ids.size()) > max_ids) {
    return InvalidField(field, absl::StrCat("has ", ids.size(),
                                            " tokens, more than ", max_ids));
  }
  const auto vocab_size = static_cast<uint32_t>(model.config.vocab_size);
  const auto wrong = std::find_if(
      ids.begin(), ids.end(), [&](uint32_t id) { return id >= vocab_size; });
  if (wrong != ids.end()) {
    return InvalidField(absl::StrCat(field, "[", wrong - ids.begin(), "]"),
                        absl::StrCat("must be a token id below ", vocab_size,
                                     ", not ", *wrong));
  }
  return TokenIds(ids.begin(), ids.end());
}

absl::StatusOr<TokenIds> Encode(const v1::GenerateRequest& in,
                                const runtime::LoadedModel& model) {
  switch (in.input_case()) {
    case v1::GenerateRequest::kText:
      if (in.text().empty()) return InvalidField("text", "must not be empty");
      return EncodeText(in.text(), /*add_special=*/true, model);
    case v1::GenerateRequest::kChat:
      return EncodeChat(in.chat(), model);
    case v1::GenerateRequest::kTokenIds:
      return CheckTokenIds(in.token_ids().ids(), "token_ids.ids",
                           static_cast<size_t>(model.config.max_position),
                           model);
    case v1::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return InvalidField("input", "must be one of text, token_ids, chat");
}

}  // namespace

absl::StatusOr<TokenIds> ConvertPrompt(const v1::GenerateRequest& in,
                                       const runtime::LoadedModel& model) {
  ASSIGN_OR_RETURN(TokenIds ids, Encode(in, model));
  if (ids.empty()) {
    return InvalidField("input", "must hold at least one token");
  }
  return ids;
}

absl::StatusOr<TokenIds> ConvertTokenize(const v1::TokenizeRequest& in,
                                         const runtime::LoadedModel& model) {
  RETURN_IF_ERROR(CheckModel(in.model(), model.name));
  switch (in.input_case()) {
    case v1::TokenizeRequest::kText:
      return EncodeText(in.text(),
                        !in.has_add_special_tokens() || in.add_special_tokens(),
                        model);
    case v1::TokenizeRequest::kChat:
      return EncodeChat(in.chat(), model);
    case v1::TokenizeRequest::INPUT_NOT_SET:
      break;
  }
  return InvalidField("input", "must be one of text, chat");
}

absl::StatusOr<std::string> ConvertDetokenize(
    const v1::DetokenizeRequest& in, const runtime::LoadedModel& model) {
  RETURN_IF_ERROR(CheckModel(in.model(), model.name));
  RETURN_IF_ERROR(NeedTokenizer(model));
  ASSIGN_OR_RETURN(
      const TokenIds ids,
      CheckTokenIds(in.token_ids(), "token_ids", kMaxDetokenizeTokens, model));
  return model.tokenizer->Decode(
      ids, !in.has_skip_special_tokens() || in.skip_special_tokens());
}

}  // namespace mla::server

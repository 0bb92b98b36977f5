// A chat as the model's template sees it, rendered. JSON that a client sends
// (tools, tool calls, template arguments) is bounded before it is parsed.
// Threads: any; pure functions of the input and the immutable model.
// Errors:  INVALID_ARGUMENT naming the field under `chat`; FAILED_PRECONDITION
//          when the model came without a template that can be used.
#ifndef MLA_SERVER_CHAT_CONVERSION_H_
#define MLA_SERVER_CHAT_CONVERSION_H_

#include "absl/status/statusor.h"
#include "mla/serving/v1/generation.pb.h"
#include "runtime/chat/chat_template.h"
#include "runtime/loaded_model.h"

namespace mla::server {

absl::StatusOr<runtime::RenderedPrompt> RenderChat(
    const serving::v1::ChatInput& chat, const runtime::LoadedModel& model);

}  // namespace mla::server

#endif  // MLA_SERVER_CHAT_CONVERSION_H_

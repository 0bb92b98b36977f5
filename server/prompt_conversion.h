// A prompt, however it is given, as token ids. Text is bounded before it is
// tokenized, and what a client wrote is never read as markup: only a chat
// template's own text can open or close a turn.
// Threads: any; pure functions of the input and the immutable model.
// Errors:  INVALID_ARGUMENT naming the field under `field`.
#ifndef MLA_SERVER_PROMPT_CONVERSION_H_
#define MLA_SERVER_PROMPT_CONVERSION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mla/serving/v1/generation.pb.h"
#include "runtime/loaded_model.h"

namespace mla::server {

// `field` is where the input stands in the request: "text", "chat", ...
absl::StatusOr<std::vector<int32_t>> EncodeText(
    const std::string& text, bool add_special_tokens, const std::string& field,
    const runtime::LoadedModel& model);

absl::StatusOr<std::vector<int32_t>> EncodeChat(
    const serving::v1::ChatInput& chat, const std::string& field,
    const runtime::LoadedModel& model);

// Checks ids that the client made itself. `Ids` is a repeated uint32 field.
absl::StatusOr<std::vector<int32_t>> CheckTokenIds(
    const google::protobuf::RepeatedField<uint32_t>& ids,
    const std::string& field, const runtime::LoadedModel& model);

}  // namespace mla::server

#endif  // MLA_SERVER_PROMPT_CONVERSION_H_

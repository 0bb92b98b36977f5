// A prompt, however it is given, as token ids, and ids back as text. Text is
// bounded before it is tokenized, and what a client wrote is never read as
// markup: only a chat template's own text can open or close a turn.
// Threads: any; pure functions of the input and the immutable model.
// Errors:  INVALID_ARGUMENT naming the field; FAILED_PRECONDITION when the
//          model came without a tokenizer or chat template.
#ifndef MLA_SERVER_PROMPT_CONVERSION_H_
#define MLA_SERVER_PROMPT_CONVERSION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mla/serving/v1/generation.pb.h"
#include "runtime/loaded_model.h"

namespace mla::server {

// Ids of the prompt of `in`: one or more.
absl::StatusOr<std::vector<int32_t>> ConvertPrompt(
    const serving::v1::GenerateRequest& in, const runtime::LoadedModel& model);

absl::StatusOr<std::vector<int32_t>> ConvertTokenize(
    const serving::v1::TokenizeRequest& in, const runtime::LoadedModel& model);

absl::StatusOr<std::string> ConvertDetokenize(
    const serving::v1::DetokenizeRequest& in,
    const runtime::LoadedModel& model);

}  // namespace mla::server

#endif  // MLA_SERVER_PROMPT_CONVERSION_H_

// Turns a GenerateRequest into what the engine runs, or into a status that
// names every field that is wrong. Cheap checks come first; only a request
// that passes them is tokenized.
// Threads: any; pure functions of the request and the immutable model.
// Errors:  INVALID_ARGUMENT with field violations; NOT_FOUND for a model that
//          is not served; RESOURCE_EXHAUSTED for a text that the tokenizer's
//          pattern gives up on.
// Flow:    GenerationService -> [here] -> Engine
#ifndef MLA_SERVER_REQUEST_CONVERSION_H_
#define MLA_SERVER_REQUEST_CONVERSION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mla/serving/v1/generation.pb.h"
#include "runtime/loaded_model.h"
#include "runtime/request.h"

namespace mla::server {

// Fills all of the result but its deadline and sink. `max_tokens`: what a
// request can have at most, prompt and answer together
// (Engine::max_request_tokens).
absl::StatusOr<runtime::Request> ConvertRequest(
    const serving::v1::GenerateRequest& in, const runtime::LoadedModel& model,
    int max_tokens);

// Tokens and alternatives beside them that a request may produce in all its
// choices; limits.h bounds it.
int64_t ResultEntries(const runtime::Request& request);

// OK for "" and for the name of the model that is served.
absl::Status CheckModel(const std::string& requested,
                        const std::string& served);

// 1 to 128 printable characters, so that it can stand in a log line.
absl::Status CheckRequestId(const std::string& id);

}  // namespace mla::server

#endif  // MLA_SERVER_REQUEST_CONVERSION_H_

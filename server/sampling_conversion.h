// Checks sampling, stop and output options and makes the engine's of them. Each
// field that is out of range is reported by path, with its bounds (limits.h).
// Threads: any; pure functions.
// Flow:    GenerateRequest -> request_conversion -> [here]
#ifndef MLA_SERVER_SAMPLING_CONVERSION_H_
#define MLA_SERVER_SAMPLING_CONVERSION_H_

#include "mla/serving/v1/generation.pb.h"
#include "runtime/request.h"
#include "server/error_details.h"

namespace mla::server {

// `out` comes holding the model's defaults; fields that are set replace them.
void ConvertSampling(const serving::v1::SamplingParams& in, int vocab_size,
                     runtime::SamplingParams& out, FieldViolations& violations);

// Leaves out.max_tokens at 0 when it is not set: it depends on the prompt.
void ConvertStop(const serving::v1::StopConditions& in, int vocab_size,
                 runtime::StopConditions& out, FieldViolations& violations);

void ConvertOutput(const serving::v1::OutputOptions& in, runtime::Request& out,
                   FieldViolations& violations);

}  // namespace mla::server

#endif  // MLA_SERVER_SAMPLING_CONVERSION_H_

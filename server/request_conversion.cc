// Tested by tests/server/request_conversion_test.cc and
// tests/fuzz/request_fuzz.cc.
#include "server/request_conversion.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/status_macros.h"
#include "server/error_details.h"
#include "server/limits.h"
#include "server/prompt_conversion.h"
#include "server/sampling_conversion.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;

// Random, so that a client cannot guess and cancel another's request.
std::string NewRequestId() {
  thread_local absl::BitGen random;
  return absl::StrFormat("req-%016x%016x", absl::Uniform<uint64_t>(random),
                         absl::Uniform<uint64_t>(random));
}

// Settles how much is generated: prompt and answer share `limit` tokens.
void FitLimit(int64_t limit, runtime::Request& request,
              FieldViolations& violations) {
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  runtime::StopConditions& stop = request.stop;
  if (prompt >= limit) {
    violations.Add("input", absl::StrCat("has ", prompt,
                                         " tokens, but prompt and answer "
                                         "can have ",
                                         limit, " together"));
    return;
  }
  if (stop.max_tokens == 0) stop.max_tokens = static_cast<int>(limit - prompt);
  if (stop.max_tokens > limit - prompt) {
    violations.Add("stop.max_tokens",
                   absl::StrCat("must be at most ", limit - prompt, ", not ",
                                stop.max_tokens, ": the prompt has ", prompt,
                                " tokens, and prompt and answer can have ",
                                limit, " together"));
  }
  if (stop.min_tokens > stop.max_tokens) {
    violations.Add("stop.min_tokens",
                   absl::StrCat("must be at most max_tokens, ", stop.max_tokens,
                                ", not ", stop.min_tokens));
  }
}

// Before any of the answer is allocated.
void BoundResult(const runtime::Request& request, FieldViolations& violations) {
  const int64_t entries = ResultEntries(request);
  if (entries <= kMaxResultEntries) return;
  violations.Add(
      "stop.max_tokens",
      absl::StrCat(
          "of ", request.stop.max_tokens, " for n = ", request.sampling.n,
          " and logprobs = ", request.sampling.logprobs.value_or(0),
          " may produce ", entries, " entries, more than ", kMaxResultEntries));
}

}  // namespace

absl::StatusOr<runtime::Request> ConvertRequest(
    const v1::GenerateRequest& in, const runtime::LoadedModel& model,
    int max_tokens) {
  RETURN_IF_ERROR(CheckModel(in.model(), model.name));
  runtime::Request request;
  if (in.request_id().empty()) {
    request.id = NewRequestId();
  } else {
    RETURN_IF_ERROR(CheckRequestId(in.request_id()));
    request.id = in.request_id();
  }
  FieldViolations violations;
  const int vocab_size = model.config.vocab_size;
  request.sampling = model.default_sampling;
  ConvertSampling(in.sampling(), vocab_size, request.sampling, violations);
  ConvertStop(in.stop(), vocab_size, request.stop, violations);
  ConvertOutput(in.output(), request, violations);
  RETURN_IF_ERROR(violations.ToStatus());

  ASSIGN_OR_RETURN(request.prompt, ConvertPrompt(in, model));
  FitLimit(max_tokens, request, violations);
  BoundResult(request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return request;
}

int64_t ResultEntries(const runtime::Request& request) {
  return int64_t{request.sampling.n} * request.stop.max_tokens *
         (1 + request.sampling.logprobs.value_or(0));
}

absl::Status CheckModel(const std::string& requested,
                        const std::string& served) {
  if (requested.empty() || requested == served) return absl::OkStatus();
  return WithReason(absl::NotFoundError(
                        absl::StrCat("model ", Quoted(requested),
                                     " is not served here; '", served, "' is")),
                    kModelNotFound);
}

absl::Status CheckRequestId(const std::string& id) {
  if (!id.empty() && id.size() <= kMaxRequestIdBytes &&
      std::all_of(id.begin(), id.end(), absl::ascii_isgraph)) {
    return absl::OkStatus();
  }
  return InvalidField("request_id",
                      absl::StrCat("must be 1 to ", kMaxRequestIdBytes,
                                   " printable ASCII characters other than "
                                   "space"));
}

}  // namespace mla::server

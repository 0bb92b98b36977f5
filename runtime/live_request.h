// Live: a request that the engine has accepted and that has not ended.
// Threads: the engine's, once it is accepted.
#ifndef MLA_RUNTIME_LIVE_REQUEST_H_
#define MLA_RUNTIME_LIVE_REQUEST_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "runtime/choice.h"
#include "runtime/request.h"
#include "runtime/token_sink.h"

namespace mla::runtime {

struct Live {
  Live(Request r, uint64_t serial) : request(std::move(r)), serial(serial) {}

  Request request;
  const uint64_t serial;  // ids may be used again, serials are not
  std::vector<std::unique_ptr<Choice>> choices;
  size_t unfinished = 0;
  absl::Time accepted = absl::Now();
  absl::Time started = absl::InfiniteFuture();  // first scheduled
  absl::Time first_token = absl::InfiniteFuture();
  int preemptions = 0;
};

// What it came to, until now.
Summary Summarize(const Live& live);

// INVALID_ARGUMENT if a model of `vocab_size`, with so many tokens for a
// request, can never answer it.
absl::Status CheckRequest(const Request& request, int vocab_size,
                          int max_request_tokens);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_LIVE_REQUEST_H_

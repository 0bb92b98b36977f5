// TokenSink receives what one request generates.
// Threads: every call comes from the engine thread and must not block.
// Flow:    Engine -> [here] -> the server's stream
#ifndef MLA_RUNTIME_TOKEN_SINK_H_
#define MLA_RUNTIME_TOKEN_SINK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace mla::runtime {

enum class FinishReason {
  kStop,    // end-of-sequence, a stop token id or a stop string
  kLength,  // max_tokens, or the model's context is full
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::optional<int32_t> stop_token_id;    // the id that ended it
  std::optional<std::string> stop_string;  // or the string
};

struct TokenLogprobs {
  float logprob =
      0;  // natural log, of the model's distribution before sampling
  std::vector<std::pair<int32_t, float>> top;  // likeliest first
};

// What one choice gained in one step. `text` may lag behind `token_ids`: an
// incomplete UTF-8 character or a possible stop string is held back.
struct TokenDelta {
  int index = 0;  // which of the n choices
  std::vector<int32_t> token_ids;
  std::string text;
  std::vector<TokenLogprobs> logprobs;  // one per token id, when asked for
  std::optional<Finish> finish;         // set on the choice's last delta
};

struct Usage {
  int prompt_tokens = 0;
  int cached_tokens = 0;  // of the prompt, taken from the prefix cache
  int generated_tokens = 0;
};

struct Timings {
  absl::Duration queue;  // accepted -> first scheduled
  absl::Duration ttft;   // accepted -> first token
  absl::Duration total;  // accepted -> done
  int preemptions = 0;
};

struct Summary {
  Usage usage;
  Timings timings;
};

class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnTokens(TokenDelta delta) = 0;
  // Exactly once, and last. Not OK: CANCELLED, DEADLINE_EXCEEDED, or INTERNAL.
  virtual void OnDone(absl::Status status, const Summary& summary) = 0;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKEN_SINK_H_

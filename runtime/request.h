// One generation request as the engine sees it: token ids in, plain values
// only. The server fills it from protobuf after checking it; the runtime never
// sees protobuf.
#ifndef MLA_RUNTIME_REQUEST_H_
#define MLA_RUNTIME_REQUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "runtime/token_sink.h"

namespace mla::runtime {

// How the next token is drawn. The defaults change nothing about the model's
// distribution: temperature 1, no truncation, no penalties.
struct SamplingParams {
  float temperature = 1.0f;  // 0 = greedy
  int top_k = 0;             // 0 = off
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1]: relative to the likeliest token
  float repetition_penalty =
      1.0f;  // > 0; over prompt and output (CTRL, 1909.05858)
  float presence_penalty = 0.0f;   // [-2, 2]; over the output
  float frequency_penalty = 0.0f;  // [-2, 2]; over the output
  std::vector<std::pair<int32_t, float>> logit_bias;  // token id, added logit
  std::optional<uint64_t> seed;  // same seed, same tokens, whatever the batch
  int n = 1;                     // independent choices from one prompt
  std::optional<int> logprobs;   // how many alternatives to report per token
};

// When a choice ends.
struct StopConditions {
  int max_tokens = 16;
  int min_tokens =
      0;  // before this many, stop ids and end-of-sequence are not drawn
  std::vector<std::string> stop;        // the match is not part of the text
  std::vector<int32_t> stop_token_ids;  // besides the model's own
  bool ignore_eos = false;
};

struct Request {
  std::string id;  // unique among live requests
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  StopConditions stop;
  bool skip_special_tokens = true;  // in the text; ids always hold them
  absl::Time deadline = absl::InfiniteFuture();
  std::shared_ptr<TokenSink> sink;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_REQUEST_H_

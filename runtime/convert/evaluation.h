// Evaluate: what a converted model lost, on texts that both read.
// Both are computed layer by layer from their files, with weights and cache in
// float, so that it measures the conversion and not a server's roundings.
// Memory:  the texts' hidden states twice, one layer, and a part of the
//          vocabulary's logits.
// Threads: blocking; call from one.
// Errors:  those of reading weights; FAILED_PRECONDITION if a model's logits
//          are not finite.
#ifndef MLA_RUNTIME_CONVERT_EVALUATION_H_
#define MLA_RUNTIME_CONVERT_EVALUATION_H_

#include <cmath>
#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/convert/hidden_states.h"

namespace mla::runtime {

// Means over all tokens of all windows but each window's first, given those
// before it. Units: nats.
struct Evaluation {
  int windows = 0;
  int64_t tokens = 0;  // that were predicted
  double source_nll = 0;
  double converted_nll = 0;
  double kl = 0;              // KL(source || converted)
  double top1_agreement = 0;  // share where both think the same one likeliest

  double source_perplexity() const { return std::exp(source_nll); }
  double converted_perplexity() const { return std::exp(converted_nll); }
};

// `windows`: at least one, each of at least two tokens.
absl::StatusOr<Evaluation> Evaluate(const Checkpoint& source,
                                    const Checkpoint& converted,
                                    const Windows& windows, int threads);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_EVALUATION_H_

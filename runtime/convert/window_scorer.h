// Scores texts by the hidden states behind a model's last layer.
// Threads: one at a time. Errors: WeightReader's.
#ifndef MLA_RUNTIME_CONVERT_WINDOW_SCORER_H_
#define MLA_RUNTIME_CONVERT_WINDOW_SCORER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/hidden_states.h"

namespace mla::runtime {

// Mean negative log-likelihood, in nats, of each window's tokens after its
// first, given those before.
absl::StatusOr<std::vector<double>> WindowNll(const ModelConfig& config,
                                              const WeightReader& reader,
                                              const Windows& windows,
                                              HiddenStates& states);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_WINDOW_SCORER_H_

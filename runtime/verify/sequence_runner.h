// SequenceRunner runs one sequence through a model outside the engine: for
// scoring texts and for checking a model against goldens.
// Owns:    the model's cache while it lives (sized for one sequence).
// Threads: one at a time.
#ifndef MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_
#define MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/parallel_model.h"

namespace mla::runtime {

class SequenceRunner {
 public:
  // A cache of `kv_dtype` rows for `max_tokens`, whose blocks are handed out in
  // a scattered order, so that a wrong block table shows. With `routing`, that
  // model computes every step first, and tokens meet the experts, and where
  // attention is sparse the tokens, that they met there.
  static absl::StatusOr<std::unique_ptr<SequenceRunner>> Create(
      ParallelModel& model, kernels::DType kv_dtype, int block_tokens,
      int max_tokens, ParallelModel* routing = nullptr);

  // Gets the logits of one position, [vocab_size].
  using OnLogits = std::function<void(int position, const float* logits)>;

  // Starts over with a prompt, in chunks the model's options allow. Calls back
  // for every position from `first_logits` on.
  void Prompt(absl::Span<const int32_t> tokens, int first_logits,
              const OnLogits& on_logits, ActivationTap* tap = nullptr);

  // Appends a generated token and returns the logits after it.
  const float* Generate(int32_t token);

  int position() const { return position_; }

  // A choice is a token's experts in one layer, or the tokens it attends to.
  struct Rerouted {
    int64_t choices = 0;
    int64_t changed = 0;
  };
  const Rerouted& rerouted() const { return rerouted_; }

 private:
  SequenceRunner(ParallelModel& model, ParallelModel* routing)
      : model_(model), routing_(routing) {}

  Rows Forward(const StepBatch& batch, ActivationTap* tap);

  ParallelModel& model_;
  ParallelModel* const routing_;
  Rerouted rerouted_;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> tokens_;  // so far
  int position_ = 0;
  bool long_prompt_ = false;
};

// Negative log-likelihood of each token after the first, given those before:
// tokens.size() - 1 values in nats.
std::vector<double> TokenNll(SequenceRunner& runner,
                             absl::Span<const int32_t> tokens, int vocab_size);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_

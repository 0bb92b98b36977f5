// SequenceRunner runs one sequence through a model outside the engine: for
// scoring texts and for checking a model against goldens.
// Owns:    the model's cache while it lives (sized for one sequence).
// Threads: one at a time.
#ifndef MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_
#define MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/model.h"

namespace mla::runtime {

class SequenceRunner {
 public:
  // A cache of `kv_dtype` rows for `max_tokens`, whose blocks are handed out in
  // a scattered order, so that a wrong block table shows.
  static absl::StatusOr<std::unique_ptr<SequenceRunner>> Create(
      Model& model, kernels::DType kv_dtype, int block_tokens, int max_tokens);

  // Gets the logits of one position, [vocab_size].
  using OnLogits = std::function<void(int position, const float* logits)>;

  // Starts over with a prompt, in chunks the model's options allow. Calls back
  // for every position from `first_logits` on.
  void Prompt(absl::Span<const int32_t> tokens, int first_logits,
              const OnLogits& on_logits, ActivationTap* tap = nullptr);

  // Appends a generated token and returns the logits after it.
  const float* Generate(int32_t token);

  int position() const { return position_; }

 private:
  SequenceRunner(Model& model) : model_(model) {}

  Model& model_;
  std::vector<int32_t> block_table_;
  int position_ = 0;
  bool long_prompt_ = false;
};

// Negative log-likelihood of each token after the first, given those before:
// tokens.size() - 1 values in nats.
std::vector<double> TokenNll(SequenceRunner& runner,
                             absl::Span<const int32_t> tokens, int vocab_size);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_SEQUENCE_RUNNER_H_

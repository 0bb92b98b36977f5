// StepBatch: the tokens that one forward pass computes, as plain values.
// Flow: Scheduler -> [here] -> Model -> Backend
#ifndef MLA_RUNTIME_STEP_BATCH_H_
#define MLA_RUNTIME_STEP_BATCH_H_

#include <cstdint>
#include <vector>

#include "kernels/sample_args.h"
#include "kernels/views.h"

namespace mla::runtime {

// Consecutive tokens of one sequence.
struct StepSpan {
  kernels::SequenceSpan rows;
  bool long_prompt = false;  // see Rope::long_above
};

// Rows are the spans' tokens one after the other: first the generated tokens,
// which take the absorbed path, then prompt tokens, which take the
// materialised one. A token's kind never changes, so recomputing a preempted
// sequence gives the bits it had before.
struct StepBatch {
  std::vector<int32_t> tokens;
  std::vector<StepSpan> generated;
  std::vector<StepSpan> prompt;
  std::vector<int> logit_rows;  // rows whose logits are wanted
  // Of each row, where the step before drew its token, among that step's draws;
  // -1: it is in `tokens`. Empty: all are.
  std::vector<int32_t> awaited;
  // How a token is drawn from the logits of each of logit_rows, if it is.
  std::vector<kernels::Draw> draws;
  std::vector<kernels::LogitChange> changes;  // of all of them

  int num_tokens() const { return static_cast<int>(tokens.size()); }
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_STEP_BATCH_H_

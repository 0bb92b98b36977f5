// Tested by tests/runtime/plan_batch_test.cc.
#include "runtime/plan_batch.h"

#include <algorithm>

namespace mla::runtime {

StepBatch PlanBatch(const StepPlan& plan) {
  StepBatch batch;
  batch.tokens.reserve(plan.num_tokens);
  // Adds tokens [first, end) of an entry's sequence as one span.
  const auto add = [&](const ScheduledTokens& entry, int first, int end,
                       std::vector<StepSpan>& spans) {
    if (first >= end) return;
    const Sequence& s = *entry.sequence;
    spans.push_back({{batch.num_tokens(), end - first, first,
                      s.block_table.data(), s.tokens.data()},
                     s.long_prompt});
    batch.tokens.insert(batch.tokens.end(), s.tokens.begin() + first,
                        s.tokens.begin() + end);
    if (batch.tokens.back() == kAwaited) {
      batch.awaited.resize(plan.num_tokens, -1);
      batch.awaited[batch.num_tokens() - 1] = s.draw;
      batch.tokens.back() = 0;
    }
  };
  std::vector<int> last_row(plan.entries.size());
  for (const bool generated : {true, false}) {
    for (size_t i = 0; i < plan.entries.size(); ++i) {
      const ScheduledTokens& entry = plan.entries[i];
      const Sequence& s = *entry.sequence;
      const int end = s.computed + entry.count;
      const int border = std::clamp(s.prompt_tokens, s.computed, end);
      if (generated) {
        add(entry, border, end, batch.generated);
      } else {
        add(entry, s.computed, border, batch.prompt);
      }
      const bool last_is_generated = end > s.prompt_tokens;
      if (generated == last_is_generated) {
        last_row[i] = batch.num_tokens() - 1;
      }
    }
  }
  for (size_t i = 0; i < plan.entries.size(); ++i) {
    if (plan.entries[i].samples()) batch.logit_rows.push_back(last_row[i]);
  }
  return batch;
}

}  // namespace mla::runtime

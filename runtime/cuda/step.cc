// Tested by tests/cuda/model_golden_cuda_test.cc and model_steps_cuda_test.cc.
#include "runtime/cuda/step.h"

#include <algorithm>

namespace mla::runtime {
namespace {

using kernels::cuda::AttentionSpan;

// The arrays as they are gathered on the host.
class Builder {
 public:
  Builder(const StepBatch& batch, int block_tokens)
      : block_tokens_(block_tokens),
        positions(batch.tokens.size()),
        blocks(batch.tokens.size()),
        tables(batch.tokens.size()) {}

  void Add(const StepSpan& span, CudaSpans& kind) {
    const kernels::SequenceSpan& s = span.rows;
    const int end = s.first_position + s.num_rows;
    const auto table = static_cast<int32_t>(block_tables.size());
    block_tables.insert(
        block_tables.end(), s.block_table,
        s.block_table + (end + block_tokens_ - 1) / block_tokens_);
    for (int i = 0; i < s.num_rows; ++i) {
      const int position = s.first_position + i;
      positions[s.first_row + i] = position;
      blocks[s.first_row + i] = s.block_table[position / block_tokens_];
      tables[s.first_row + i] = table;
    }
    if (kind.empty()) kind.first_row = s.first_row;
    kind.num_rows += s.num_rows;
    kind.host.push_back({s.first_row, s.num_rows, s.first_position, table});
    kind.tokens.push_back(s.tokens);
    end_position = std::max(end_position, end);
  }

 private:
  const int block_tokens_;

 public:
  std::vector<int32_t> positions, blocks, tables, block_tables;
  int end_position = 0;
};

CudaStep::Angles AddAngles(const StepBatch& batch, const Rope& rope,
                           StepArena& arena) {
  const size_t angles = rope.inv_freq.size();
  std::vector<float> cos(batch.tokens.size() * angles), sin(cos.size());
  for (const auto* spans : {&batch.generated, &batch.prompt}) {
    for (const StepSpan& span : *spans) {
      for (int i = 0; i < span.rows.num_rows; ++i) {
        const size_t at = (span.rows.first_row + i) * angles;
        rope.Angles(span.rows.first_position + i, span.long_prompt, &cos[at],
                    &sin[at]);
      }
    }
  }
  CudaStep::Angles table;
  table.cos = arena.Add<float>(cos);
  table.sin = arena.Add<float>(sin);
  return table;
}

}  // namespace

CudaStep MakeCudaStep(const StepBatch& batch, absl::Span<const Rope> ropes,
                      int block_tokens, StepArena& arena) {
  CudaStep step;
  step.batch = &batch;
  step.rows = batch.num_tokens();
  Builder b(batch, block_tokens);
  for (const StepSpan& span : batch.generated) b.Add(span, step.generated);
  for (const StepSpan& span : batch.prompt) b.Add(span, step.prompt);
  step.end_position = b.end_position;
  step.tokens = arena.Add<int32_t>(batch.tokens);
  step.positions = arena.Add<int32_t>(b.positions);
  step.blocks = arena.Add<int32_t>(b.blocks);
  step.tables = arena.Add<int32_t>(b.tables);
  step.logit_rows = arena.Add<int32_t>(batch.logit_rows);
  step.generated.device = arena.Add<AttentionSpan>(step.generated.host);
  step.prompt.device = arena.Add<AttentionSpan>(step.prompt.host);
  for (const Rope& rope : ropes) {
    step.ropes.push_back(AddAngles(batch, rope, arena));
  }
  step.block_tables =
      arena.Add<int32_t>(b.block_tables, RoundedUp(b.block_tables.size()));
  return step;
}

}  // namespace mla::runtime

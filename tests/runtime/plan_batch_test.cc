#include "runtime/plan_batch.h"

#include <gtest/gtest.h>

namespace mla::runtime {
namespace {

Sequence MakeSequence(int prompt, int generated, int computed, int first) {
  Sequence s;
  s.prompt_tokens = prompt;
  s.computed = computed;
  for (int i = 0; i < prompt + generated; ++i) s.tokens.push_back(first + i);
  s.block_table = {first};
  return s;
}

TEST(PlanBatch, GeneratedRowsComeFirstWhateverTheOrderOfEntries) {
  Sequence prompt = MakeSequence(5, 0, 2, 100);  // its last three tokens
  Sequence decode = MakeSequence(4, 2, 5, 200);  // its newest token
  StepPlan plan;
  plan.entries = {{&prompt, 3}, {&decode, 1}};
  const StepBatch batch = PlanBatch(plan);
  EXPECT_EQ(batch.tokens, (std::vector<int32_t>{205, 102, 103, 104}));
  ASSERT_EQ(batch.generated.size(), 1u);
  EXPECT_EQ(batch.generated[0].rows.first_row, 0);
  EXPECT_EQ(batch.generated[0].rows.first_position, 5);
  EXPECT_EQ(batch.generated[0].rows.block_table, decode.block_table.data());
  ASSERT_EQ(batch.prompt.size(), 1u);
  EXPECT_EQ(batch.prompt[0].rows.first_row, 1);
  EXPECT_EQ(batch.prompt[0].rows.num_rows, 3);
  EXPECT_EQ(batch.prompt[0].rows.first_position, 2);
  EXPECT_EQ(batch.logit_rows, (std::vector<int>{3, 0}));
}

TEST(PlanBatch, ARecomputedSequenceIsCutWhereItsPromptEnds) {
  Sequence s = MakeSequence(3, 4, 1, 0);  // preempted: 1 of 7 is back
  StepPlan plan;
  plan.entries = {{&s, 6}};
  const StepBatch batch = PlanBatch(plan);
  // Generated tokens 3..6, then prompt tokens 1..2.
  EXPECT_EQ(batch.tokens, (std::vector<int32_t>{3, 4, 5, 6, 1, 2}));
  EXPECT_EQ(batch.generated[0].rows.first_position, 3);
  EXPECT_EQ(batch.generated[0].rows.num_rows, 4);
  EXPECT_EQ(batch.prompt[0].rows.first_position, 1);
  EXPECT_EQ(batch.logit_rows, std::vector<int>{3});
}

TEST(PlanBatch, AnUnfinishedPromptAsksForNoLogits) {
  Sequence s = MakeSequence(10, 0, 0, 0);
  StepPlan plan;
  plan.entries = {{&s, 4}};
  EXPECT_TRUE(PlanBatch(plan).logit_rows.empty());
}

}  // namespace
}  // namespace mla::runtime

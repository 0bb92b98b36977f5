// PlanBatch turns what the scheduler decided into the rows that the model
// computes: generated tokens first, then prompts (see StepBatch).
// Threads: engine thread only; the batch points into the plan's block tables.
#ifndef MLA_RUNTIME_PLAN_BATCH_H_
#define MLA_RUNTIME_PLAN_BATCH_H_

#include "runtime/scheduler.h"
#include "runtime/step_batch.h"

namespace mla::runtime {

// logit_rows has one entry per plan entry that samples(), in their order.
StepBatch PlanBatch(const StepPlan& plan);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_PLAN_BATCH_H_

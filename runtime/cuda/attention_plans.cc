// Tested by tests/cuda/model_golden_cuda_test.cc and model_steps_cuda_test.cc.
#include "runtime/cuda/attention_plans.h"

#include <algorithm>

namespace mla::runtime {
namespace {

using kernels::AttentionPlan;
using kernels::AttentionPlanOptions;
using kernels::AttnLayout;
using kernels::cuda::AttentionSpan;
using kernels::cuda::AttentionWork;
using kernels::cuda::CombineWork;

std::vector<int32_t> FirstHeads(const AttnLayout& layout) {
  std::vector<int32_t> first;
  for (int g = 0; g <= layout.groups; ++g) first.push_back(layout.FirstHead(g));
  return first;
}

bool CutAlike(const AttnLayout& a, const AttnLayout& b) {
  return a.groups == b.groups && a.virtual_heads() == b.virtual_heads() &&
         a.first_head == b.first_head;
}

bool SameOptions(const AttentionPlanOptions& a, const AttentionPlanOptions& b) {
  return a.tile_rows == b.tile_rows && a.thread_blocks == b.thread_blocks &&
         a.cut_long == b.cut_long && a.time_stride == b.time_stride &&
         a.top_k == b.top_k && a.token_tiles == b.token_tiles &&
         a.first_index == b.first_index && a.end_index == b.end_index;
}

}  // namespace

DevicePlan AttentionPlans::Add(const AttentionPlan& plan,
                               const AttnLayout& layout, int thread_blocks) {
  DevicePlan p;
  p.work = arena_.Add<AttentionWork>(plan.work, RoundedUp(plan.work.size()));
  p.work_begin = arena_.Add<int32_t>(plan.work_begin);
  p.first_head = arena_.Add<int32_t>(FirstHeads(layout));
  p.thread_blocks = thread_blocks;
  return p;
}

void AttentionPlans::Make(const CudaStep& step, Known& known) {
  const CudaSpans& spans = known.generated ? step.generated : step.prompt;
  known.plan = {};
  if (spans.empty()) return;
  const AttentionPlan plan =
      kernels::PlanAttention(known.layout, spans.host, known.options);
  known.plan = Add(plan, known.layout, known.options.thread_blocks);
  if (!known.options.cut_long) return;
  // As many as there could be: recorded work combines them all.
  std::vector<CombineWork> combine = plan.combine;
  combine.resize(plan.tiles);
  known.plan.combine = arena_.Add<CombineWork>(combine);
  known.plan.num_combine = plan.tiles;
  const size_t rows = RoundedUp(plan.slots) * known.options.tile_rows;
  partial_.Reserve<float>(rows * known.value_dim);
  partial_lse_.Reserve<float>(rows);
}

void AttentionPlans::BeginStep(const CudaStep& step) {
  of_spans_.clear();
  for (Known& known : known_) Make(step, known);
}

const DevicePlan& AttentionPlans::ForStep(const CudaStep& step, bool generated,
                                          const AttnLayout& layout,
                                          const AttentionPlanOptions& options,
                                          int value_dim) {
  for (Known& known : known_) {
    if (known.generated != generated || !CutAlike(known.layout, layout) ||
        !SameOptions(known.options, options)) {
      continue;
    }
    if (value_dim > known.value_dim) {
      known.value_dim = value_dim;
      Make(step, known);
      arena_.Upload();
    }
    return known.plan;
  }
  Known& known =
      known_.emplace_back(Known{generated, layout, options, value_dim, {}});
  Make(step, known);
  arena_.Upload();
  return known.plan;
}

const DevicePlan& AttentionPlans::ForSpan(const AttentionSpan& span,
                                          const AttnLayout& layout,
                                          const AttentionPlanOptions& options) {
  for (const OfSpan& known : of_spans_) {
    if (known.first_row == span.first_row && CutAlike(known.layout, layout) &&
        SameOptions(known.options, options)) {
      return known.plan;
    }
  }
  const AttentionPlan plan = kernels::PlanAttention(layout, {span}, options);
  const DevicePlan p = Add(plan, layout, options.thread_blocks);
  arena_.Upload();
  return of_spans_.emplace_back(OfSpan{span.first_row, layout, options, p})
      .plan;
}

}  // namespace mla::runtime

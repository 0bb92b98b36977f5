// AttentionPlans: the plans of a step's attention (kernels/plan), made on the
// host once for all layers that are cut alike, and uploaded with the step.
//
// A plan's key is noted when it is first asked for; from then on every step
// has it from the start, so that recorded work finds it in its place.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_ATTENTION_PLANS_H_
#define MLA_RUNTIME_CUDA_ATTENTION_PLANS_H_

#include <cstdint>
#include <deque>

#include "kernels/attn_layout.h"
#include "kernels/plan/attention_plan.h"
#include "runtime/cuda/step.h"

namespace mla::runtime {

// A plan in device memory, valid for the step.
struct DevicePlan {
  const kernels::cuda::AttentionWork* work = nullptr;
  const int32_t* work_begin = nullptr;
  const kernels::cuda::CombineWork* combine = nullptr;
  int num_combine = 0;
  const int32_t* first_head = nullptr;
  int thread_blocks = 0;
};

class AttentionPlans {
 public:
  AttentionPlans(Device& device, StepArena& arena)
      : arena_(arena), partial_(device), partial_lse_(device) {}

  // Makes the plans known so far for the step; the caller uploads.
  void BeginStep(const CudaStep& step);

  // Of all the step's spans of a kind. `value_dim`: of the kernel's shape.
  // REQUIRES: equal layouts have equal heads and groups.
  const DevicePlan& ForStep(const CudaStep& step, bool generated,
                            const kernels::AttnLayout& layout,
                            const kernels::AttentionPlanOptions& options,
                            int value_dim);
  // Of one span, which is named by its first row, over some of its rows.
  const DevicePlan& ForSpan(const kernels::cuda::AttentionSpan& span,
                            const kernels::AttnLayout& layout,
                            const kernels::AttentionPlanOptions& options);
  // Where pieces leave what is to be combined.
  float* partial() const { return partial_.data<float>(); }
  float* partial_lse() const { return partial_lse_.data<float>(); }

 private:
  struct Known {
    bool generated = false;
    kernels::AttnLayout layout;
    kernels::AttentionPlanOptions options;
    int value_dim = 0;
    DevicePlan plan;
  };
  struct OfSpan {
    int first_row = 0;
    kernels::AttnLayout layout;
    kernels::AttentionPlanOptions options;
    DevicePlan plan;
  };

  void Make(const CudaStep& step, Known& known);
  DevicePlan Add(const kernels::AttentionPlan& plan,
                 const kernels::AttnLayout& layout, int thread_blocks);

  StepArena& arena_;
  std::deque<Known> known_;
  std::deque<OfSpan> of_spans_;  // this step's
  DeviceBuffer partial_, partial_lse_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_ATTENTION_PLANS_H_

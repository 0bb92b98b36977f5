// Runs the attention kernels on an AttentionCase, and holds them to its answer.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_RUNNER_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_RUNNER_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "cuda_host/attention_case.h"
#include "cuda_host/engine.h"
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_hopper.cuh"
#include "kernels/cuda/launch/row_boxes.h"
#include "kernels/plan/attention_plan.h"

namespace cuda_host {

using mla::kernels::AttentionPlan;
using mla::kernels::AttentionPlanOptions;
using mla::kernels::FromBF16;
using mla::kernels::cuda::AttentionArgs;
using mla::kernels::cuda::CombineArgs;

struct Way {
  int thread_blocks = 3;
  bool cut_long = true;
  bool bf16_out = false;
  int parts = 1;  // the keys come in so many, each materialised by itself
  const unsigned char* cache = nullptr;  // elsewhere than the case's
};

// Rows of one sequence one behind the other, from index `first` on.
inline std::vector<unsigned char> Materialise(const AttentionCase& c, int first,
                                              int end) {
  std::vector<unsigned char> rows;
  const AttentionSpan& span = c.spans[0];
  for (int i = first; i < end; ++i) {
    const size_t block = c.block_tables[span.block_table + i / c.block_rows];
    const auto row = c.cache.begin() +
                     (block * c.block_rows + i % c.block_rows) * c.row_bytes();
    rows.insert(rows.end(), row, row + c.row_bytes());
  }
  return rows;
}

template <class Shape>
void RunPieces(Shape, const AttentionArgs& args, int thread_blocks) {
  Engine::Get().Run(dim3(thread_blocks), dim3(Shape::kThreads),
                    Shape::kSharedBytes,
                    [&] { mla::kernels::cuda::AttentionKernel<Shape>(args); });
}
template <int kKeyDim, int kValueDim>
void RunPieces(mla::kernels::cuda::HopperShape<kKeyDim, kValueDim>,
               const AttentionArgs& args, int thread_blocks) {
  using Shape = mla::kernels::cuda::HopperShape<kKeyDim, kValueDim>;
  mla::kernels::cuda::HopperAttentionArgs hopper;
  ASSERT_TRUE(mla::kernels::cuda::FitBoxes(args, kKeyDim));
  ASSERT_EQ(mla::kernels::cuda::BoxesOf(args, kKeyDim, &cuTensorMapEncodeTiled,
                                        &hopper.rows),
            CUDA_SUCCESS);
  hopper.attention = args;
  Engine::Get().Run(
      dim3(thread_blocks), dim3(Shape::kThreads), Shape::kSharedBytes,
      [&] { mla::kernels::cuda::HopperAttentionKernel<Shape>(hopper); });
}

// What the kernels make of the case: [rows, virtual heads, value length].
template <class Shape>
std::vector<float> Compute(const AttentionCase& c, const Way& run) {
  const AttnLayout& layout = c.layout;
  const int heads = layout.virtual_heads(), dv = layout.value_length();
  const size_t results = static_cast<size_t>(c.rows) * heads;
  std::vector<int32_t> first_head;
  for (int g = 0; g <= layout.groups; ++g) {
    first_head.push_back(layout.FirstHead(g));
  }
  const int padded = (dv + 7) / 8 * 8;
  std::vector<float> out(results * dv, std::numeric_limits<float>::quiet_NaN());
  std::vector<uint16_t> out_bf16(results * padded, 0x7fc0);
  std::vector<float> state(results * dv,
                           std::numeric_limits<float>::quiet_NaN()),
      state_lse(results, std::numeric_limits<float>::quiet_NaN());

  AttentionArgs args;
  args.q = c.q.data();
  args.q_head_stride = c.q_head_stride();
  args.q_row_stride = int64_t{heads} * args.q_head_stride;
  args.cache = run.cache != nullptr ? run.cache : c.cache.data();
  args.block_tables = c.block_tables.data();
  args.block_rows = c.block_rows;
  args.block_bytes = int64_t{c.block_rows} * c.row_bytes();
  args.format = c.format();
  std::copy_n(layout.key, 2, args.key);
  std::copy_n(layout.value, 2, args.value);
  args.first_head = first_head.data();
  args.scale_log2 = static_cast<float>(c.scale * M_LOG2E);
  args.time_stride = layout.time_stride;
  if (layout.time_stride > 1) args.newest_rows = c.newest_rows.data();
  if (c.top_k > 0) args.selected = c.selected.data();
  args.top_k = c.top_k;
  args.spans = c.spans.data();
  args.virtual_heads = heads;
  if (run.bf16_out) {
    args.out_bf16 = out_bf16.data();
    args.out_head_stride = padded;
  } else {
    args.out_f32 = out.data();
    args.out_head_stride = dv;
  }
  args.out_row_stride = int64_t{heads} * args.out_head_stride;

  AttentionPlanOptions options;
  options.tile_rows = Shape::kRows;
  options.thread_blocks = run.thread_blocks;
  options.cut_long = run.cut_long && run.parts == 1;
  options.time_stride = layout.time_stride;
  options.top_k = c.top_k;
  options.token_tiles = layout.time_stride > 1 || c.top_k > 0;
  int end = 0;
  for (const AttentionSpan& s : c.spans) {
    end = std::max(end, s.first_position + s.num_rows);
  }
  for (int part = 0; part < run.parts; ++part) {
    std::vector<unsigned char> rows;
    if (run.parts > 1) {
      options.first_index = end * part / run.parts;
      options.end_index = end * (part + 1) / run.parts;
      rows = Materialise(c, options.first_index, options.end_index);
      args.cache = rows.data();
      args.block_tables = nullptr;
      args.first_cached = options.first_index;
      args.state = state.data();
      args.state_lse = state_lse.data();
      args.first_part = part == 0;
      args.last_part = part == run.parts - 1;
    }
    const AttentionPlan plan =
        mla::kernels::PlanAttention(layout, c.spans, options);
    std::vector<float> partial(
        static_cast<size_t>(plan.slots) * Shape::kRows * Shape::kValueDim,
        std::numeric_limits<float>::quiet_NaN());
    std::vector<float> partial_lse(
        static_cast<size_t>(plan.slots) * Shape::kRows,
        std::numeric_limits<float>::quiet_NaN());
    args.partial = partial.data();
    args.partial_lse = partial_lse.data();
    args.work = plan.work.data();
    args.work_begin = plan.work_begin.data();
    RunPieces(Shape(), args, run.thread_blocks);
    if (plan.combine.empty()) continue;
    const CombineArgs combine{args, plan.combine.data(),
                              static_cast<int>(plan.combine.size())};
    Engine::Get().Run(
        dim3(combine.num_work, Shape::kRows / 8), dim3(256), 0,
        [&] { mla::kernels::cuda::CombineKernel<Shape>(combine); });
  }
  if (!run.bf16_out) return out;
  for (size_t i = 0; i < results; ++i) {
    for (int j = 0; j < dv; ++j)
      out[i * dv + j] = FromBF16(out_bf16[i * padded + j]);
    for (int j = dv; j < padded; ++j) EXPECT_EQ(out_bf16[i * padded + j], 0);
  }
  return out;
}

template <class Shape>
void Check(const AttentionCase& c, const Way& run = {}) {
  const AttentionCase::Answer answer = c.Solve(run.bf16_out);
  std::vector<float> first;
  for (const Schedule& schedule :
       {Schedule{Order::kRoundRobin, 1}, Schedule{Order::kRandom, 2},
        Schedule{Order::kReverse, 3}, Schedule{Order::kSkew, 4}}) {
    Engine::Get().set_schedule(schedule);
    std::vector<float> found;
    ASSERT_NO_THROW(found = Compute<Shape>(c, run));
    ASSERT_EQ(found.size(), answer.value.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_LE(std::fabs(found[i] - answer.value[i]), answer.bound[i])
          << "element " << i << " " << found[i] << " for " << answer.value[i];
    }
    if (first.empty()) first = found;
    ASSERT_EQ(found, first) << "not the same in every schedule";
  }
}

using Tokens = std::vector<std::pair<int, int>>;  // rows, first position

inline AttentionCase Case(const AttnLayout& layout, const Tokens& tokens,
                          uint64_t seed = 1) {
  AttentionCase c;
  c.layout = layout;
  c.Fill(tokens, seed);
  return c;
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_ATTENTION_RUNNER_H_

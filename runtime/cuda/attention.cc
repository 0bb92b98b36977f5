// Tested by tests/cuda/model_golden_cuda_test.cc and layouts_cuda_test.py.
#include "runtime/cuda/attention.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/launch/rows.h"

namespace mla::runtime {
namespace {

using kernels::AttentionPlanOptions;
using kernels::AttnLayout;
using kernels::DType;
using kernels::RowFormat;
using kernels::cuda::AttentionArgs;
using kernels::cuda::AttentionChoice;
using kernels::cuda::CombineArgs;

const DeviceUpProjection* UpOf(const AttendCall& call) {
  return static_cast<const DeviceUpProjection*>(call.weights.up);
}

bool AbsorbsKeys(const AttendCall& call) {
  return call.weights.up != nullptr && UpOf(call)->k_absorbed.count > 0;
}

bool ProjectsValues(const AttendCall& call) {
  return call.weights.up != nullptr && UpOf(call)->v.count > 0;
}

int QueryDim(const AttendCall& call) {
  return call.q.cols / call.weights.layout.heads;
}

int OutputDim(const AttendCall& call) {
  return call.out.cols / call.weights.layout.heads;
}

// Whether queries see rows of their own.
bool ByToken(const AttendCall& call) {
  return call.weights.layout.time_stride > 1 || call.selection != nullptr;
}

}  // namespace

CudaAttention::CudaAttention(Device& device, Gemm& gemm, StepArena& arena,
                             const CudaOptions& options)
    : device_(device),
      gemm_(gemm),
      options_(options),
      plans_(device, arena),
      built_(device, gemm, arena, options.prompt_rows, options.built_rows),
      nope_(device),
      queries_(device),
      latents_(device),
      state_(device),
      state_lse_(device) {}

void CudaAttention::BeginStep(const CudaStep& step,
                              absl::Span<const Rope> ropes) {
  plans_.BeginStep(step);
  built_.BeginStep(ropes);
}

bool CudaAttention::Choose(const AttnLayout& layout, const RowFormat& format,
                           bool many_rows, AttentionChoice* choice) const {
  int heads = 0;
  for (int g = 0; g < layout.groups; ++g) {
    heads = std::max(heads, layout.GroupHeads(g));
  }
  // By kind and layout alone: tiles of other sizes add up in other orders.
  return kernels::cuda::ChooseAttention(layout, format,
                                        many_rows ? 64 * heads : heads,
                                        device_.shared_bytes(), choice);
}

int CudaAttention::ThreadBlocks(const AttentionChoice& choice) const {
  if (options_.thread_blocks > 0) return options_.thread_blocks;
  // As AttentionShape::kMinBlocks has it.
  return device_.multiprocessors() * (choice.value_dim <= 128 ? 2 : 1);
}

bool CudaAttention::PagedFits(const AttendCall& call) const {
  AttentionChoice choice;
  return Choose(call.weights.layout, call.cache.format, false, &choice);
}

void CudaAttention::Attend(const CudaStep& step, const AttendCall& call) {
  const AttentionWeights& w = call.weights;
  const bool reads_anew = w.gated != nullptr || w.layout.rotate_on_read;
  // Keys that are not absorbed, and latents wider than any kernel's, are built.
  const bool builds_all =
      reads_anew || (AbsorbsKeys(call) && !ByToken(call) && !PagedFits(call));
  const bool builds_prompts =
      builds_all ||
      (AbsorbsKeys(call) && !ByToken(call) && w.layout.branches == 1);
  if (builds_all) {
    repeatable_ = false;
    AttendBuilt(step, call, step.generated);
  } else {
    AttendPaged(step, call, /*generated=*/true);
  }
  if (builds_prompts) {
    AttendBuilt(step, call, step.prompt);
  } else {
    AttendPaged(step, call, /*generated=*/false);
  }
}

void CudaAttention::CastQueries(const AttendCall& call, const CudaSpans& spans,
                                int first, int length, uint16_t* to, int stride,
                                int padded, int branch) {
  const AttnLayout& l = call.weights.layout;
  const Rows q = call.q.Slice(spans.first_row, spans.num_rows);
  const int64_t row_stride = int64_t{l.virtual_heads()} * stride;
  device_.Check(
      kernels::cuda::LaunchCast(
          {q.Columns(first, q.cols - first), l.heads, QueryDim(call), length,
           to + spans.first_row * row_stride +
               int64_t{branch} * l.heads * stride,
           row_stride, stride, padded},
          device_.stream()),
      "cast of queries");
}

// q' = [W_UK^T q_nope | the rest of q]
void CudaAttention::AbsorbQueries(const AttendCall& call,
                                  const CudaSpans& spans, int tile) {
  const AttnLayout& l = call.weights.layout;
  const int stride = PaddedTo8(l.key_length());
  const size_t rows = call.q.rows + tile;
  auto* to = queries_.Reserve<uint16_t>(rows * l.virtual_heads() * stride);
  if (!AbsorbsKeys(call)) {
    if (to != nullptr) {
      CastQueries(call, spans, 0, QueryDim(call), to, stride, stride, 0);
    }
    return;
  }
  const DeviceMatrix& w = UpOf(call)->k_absorbed;  // [n, nope] of each head
  const int nope = w.inputs, n = w.outputs;
  const int64_t nope_stride = int64_t{l.heads} * w.stride;
  auto* parts = nope_.Reserve<uint16_t>(rows * nope_stride);
  if (!device_.ok()) return;
  const Rows q = call.q.Slice(spans.first_row, spans.num_rows);
  device_.Check(
      kernels::cuda::LaunchCast({q, l.heads, QueryDim(call), nope,
                                 parts + spans.first_row * nope_stride,
                                 nope_stride, w.stride, w.stride},
                                device_.stream()),
      "cast of queries");
  GemmArgs args;
  args.rows = tile;
  args.outputs = n;
  args.inputs = w.stride;
  args.batch = l.heads;
  args.out = DType::kBF16;
  const int64_t row_stride = int64_t{l.virtual_heads()} * stride;
  for (int branch = 0; branch < l.branches; ++branch) {
    const int64_t head = int64_t{branch} * l.heads;
    for (int row = 0; row < spans.num_rows; row += tile) {
      const int64_t at = spans.first_row + row;
      args.x = {parts + at * nope_stride, nope_stride, w.stride};
      args.w = {w.memory.data<uint16_t>() + head * w.matrix_elements(),
                w.stride, w.matrix_elements()};
      args.y = {to + at * row_stride + head * stride, row_stride, stride};
      gemm_.Run(args);
    }
    CastQueries(call, spans, nope, QueryDim(call) - nope, to + n, stride,
                stride - n, branch);
  }
}

void CudaAttention::ProjectValues(const AttendCall& call,
                                  const CudaSpans& spans, int tile) {
  if (!ProjectsValues(call) || !device_.ok()) return;
  const AttnLayout& l = call.weights.layout;
  const DeviceMatrix& w = UpOf(call)->v;  // [v, latent] of each virtual head
  const int64_t row_stride = int64_t{l.virtual_heads()} * w.stride;
  GemmArgs args;
  args.rows = tile;
  args.outputs = w.outputs;
  args.inputs = w.stride;
  args.batch = l.heads;
  for (int branch = 0; branch < l.branches; ++branch) {
    const int64_t head = int64_t{branch} * l.heads;
    args.add = branch > 0;
    for (int row = 0; row < spans.num_rows; row += tile) {
      const int64_t at = spans.first_row + row;
      args.x = {latents_.data<uint16_t>() + at * row_stride + head * w.stride,
                row_stride, w.stride};
      args.w = {w.memory.data<uint16_t>() + head * w.matrix_elements(),
                w.stride, w.matrix_elements()};
      args.y = {call.out[static_cast<int>(at)],
                static_cast<int64_t>(call.out.stride), w.outputs};
      gemm_.Run(args);
    }
  }
}

void CudaAttention::SetOutput(const AttendCall& call, bool in_latent, int tile,
                              AttentionArgs& args) {
  const AttnLayout& l = call.weights.layout;
  if (!in_latent) {
    args.out_f32 = call.out.data;
    args.out_row_stride = static_cast<int64_t>(call.out.stride);
    args.out_head_stride = OutputDim(call);
    return;
  }
  const int stride = UpOf(call)->v.stride;
  args.out_head_stride = stride;
  args.out_row_stride = int64_t{l.virtual_heads()} * stride;
  args.out_bf16 = latents_.Reserve<uint16_t>(size_t(call.q.rows + tile) *
                                             args.out_row_stride);
}

void CudaAttention::Launch(const AttentionChoice& choice,
                           const DevicePlan& plan, AttentionArgs args) {
  if (!device_.ok()) return;
  args.first_head = plan.first_head;
  args.work = plan.work;
  args.work_begin = plan.work_begin;
  if (plan.num_combine > 0) {
    args.partial = plans_.partial();
    args.partial_lse = plans_.partial_lse();
  }
  if (!device_.Check(kernels::cuda::LaunchAttention(
                         choice, args, plan.thread_blocks, device_.stream()),
                     "attention")) {
    return;
  }
  const CombineArgs combine{args, plan.combine, plan.num_combine};
  device_.Check(kernels::cuda::LaunchCombine(choice, combine, device_.stream()),
                "attention's combine");
}

void CudaAttention::AttendPaged(const CudaStep& step, const AttendCall& call,
                                bool generated) {
  const CudaSpans& spans = generated ? step.generated : step.prompt;
  if (spans.empty() || !device_.ok()) return;
  const AttnLayout& l = call.weights.layout;
  const bool by_token = ByToken(call);
  AttentionChoice choice;
  if (!Choose(l, call.cache.format, !generated && !by_token, &choice)) {
    device_.Fail(absl::UnimplementedError(
        absl::StrCat("no attention kernel holds keys of ", l.key_length(),
                     " elements and values of ", l.value_length())));
    return;
  }
  AttentionPlanOptions options;
  options.tile_rows = choice.tile_rows;
  options.thread_blocks = ThreadBlocks(choice);
  options.cut_long = generated;
  options.time_stride = l.time_stride;
  options.top_k = call.selection == nullptr ? 0 : call.selection->top_k;
  options.token_tiles = by_token;
  const DevicePlan plan =
      plans_.ForStep(step, generated, l, options, choice.value_dim);

  const int tile = generated ? options_.generated_rows : options_.prompt_rows;
  AbsorbQueries(call, spans, tile);
  AttentionArgs args;
  args.q = queries_.data<uint16_t>();
  args.q_head_stride = PaddedTo8(l.key_length());
  args.q_row_stride = int64_t{l.virtual_heads()} * args.q_head_stride;
  args.cache = call.cache.cache;
  args.block_tables = step.block_tables;
  args.block_bytes = call.cache.block_bytes;
  args.block_rows = call.cache.block_tokens / call.cache.time_stride;
  args.format = call.cache.format;
  std::copy_n(l.key, 2, args.key);
  std::copy_n(l.value, 2, args.value);
  args.scale_log2 = call.weights.scale * static_cast<float>(M_LOG2E);
  args.time_stride = l.time_stride;
  if (l.time_stride > 1) args.newest_rows = call.newest_rows;
  if (call.selection != nullptr) {
    args.selected = call.selection->positions;
    args.top_k = call.selection->top_k;
  }
  args.spans = spans.device;
  args.virtual_heads = l.virtual_heads();
  SetOutput(call, ProjectsValues(call), tile, args);
  Launch(choice, plan, args);
  ProjectValues(call, spans, tile);
}

void CudaAttention::AttendBuilt(const CudaStep& step, const AttendCall& call,
                                const CudaSpans& spans) {
  if (spans.empty() || !device_.ok()) return;
  const AttnLayout built = BuiltRows::LayoutOf(call.weights);
  AttentionChoice choice;
  const RowFormat format = kernels::RowFormatOf(built, DType::kBF16);
  if (!Choose(built, format, /*many_rows=*/true, &choice)) {
    device_.Fail(absl::UnimplementedError(
        absl::StrCat("no attention kernel holds keys of ", built.key_length(),
                     " elements and values of ", built.value_length())));
    return;
  }
  const int tile = options_.prompt_rows;
  const int stride = PaddedTo8(built.key_length());
  const int heads = built.virtual_heads();
  const bool in_latent =
      call.weights.layout.rotate_on_read && ProjectsValues(call);
  auto* q =
      queries_.Reserve<uint16_t>(size_t(call.q.rows + tile) * heads * stride);
  if (q == nullptr) return;
  CastQueries(call, spans, 0, QueryDim(call), q, stride, stride, 0);

  AttentionArgs args;
  args.q = q;
  args.q_head_stride = stride;
  args.q_row_stride = int64_t{heads} * stride;
  args.format = format;
  std::copy_n(built.key, 2, args.key);
  std::copy_n(built.value, 2, args.value);
  args.scale_log2 = call.weights.scale * static_cast<float>(M_LOG2E);
  args.virtual_heads = heads;
  SetOutput(call, in_latent, tile, args);
  for (size_t i = 0; i < spans.host.size(); ++i) {
    AttendBuiltSpan(step, call, spans, i, choice, args);
  }
  if (in_latent) ProjectValues(call, spans, tile);
}

void CudaAttention::AttendBuiltSpan(const CudaStep& step,
                                    const AttendCall& call,
                                    const CudaSpans& spans, size_t index,
                                    const AttentionChoice& choice,
                                    AttentionArgs args) {
  const kernels::cuda::AttentionSpan& span = spans.host[index];
  const AttnLayout built = BuiltRows::LayoutOf(call.weights);
  const int end = span.first_position + span.num_rows;
  args.spans = spans.device + index;
  if (end > built_.most()) {
    const size_t results = size_t(call.q.rows) * built.virtual_heads();
    args.state = state_.Reserve<float>(results * built.value_length());
    args.state_lse = state_lse_.Reserve<float>(results);
  }
  AttentionPlanOptions options;
  options.tile_rows = choice.tile_rows;
  options.thread_blocks = ThreadBlocks(choice);
  options.cut_long = false;
  for (int first = 0; first < end; first += built_.most()) {
    const int count = std::min(built_.most(), end - first);
    built_.Build(call.weights, call.cache, step.block_tables + span.block_table,
                 spans.tokens[index], first, count);
    options.first_index = first;
    options.end_index = first + count;
    args.cache = built_.data();
    args.first_cached = first;
    args.first_part = first == 0;
    args.last_part = first + count == end;
    Launch(choice, plans_.ForSpan(span, built, options), args);
  }
}

}  // namespace mla::runtime

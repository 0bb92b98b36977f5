// CudaAttention: attention over the cache on a device. Two ways compute the
// same function, as on the CPU (kernels/cpu/attention.h):
//   paged: the kernel reads cached rows where they lie, queries absorbed into
//     the latent; generated tokens, and all where there is nothing to build.
//   built: a part of a sequence's keys and values at a time is built in
//     workspace memory (built_rows.h), and the parts' results are merged;
//     prompts, and all where keys are rotated or gated when they are read.
// Operands are bf16, whatever the type of the cache and of the weights.
//
// A query's result depends on its own position and kind only: neither on the
// other sequences, nor on how a prompt was cut.
// Threads: one at a time. Errors: the device's status.
#ifndef MLA_RUNTIME_CUDA_ATTENTION_H_
#define MLA_RUNTIME_CUDA_ATTENTION_H_

#include <cstdint>

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/launch/attention.h"
#include "runtime/backend.h"
#include "runtime/cuda/attention_plans.h"
#include "runtime/cuda/built_rows.h"
#include "runtime/cuda/gemm.h"
#include "runtime/cuda/options.h"
#include "runtime/cuda/step.h"
#include "runtime/cuda/weights.h"

namespace mla::runtime {

// What one layer's attention is about.
struct AttendCall {
  const AttentionWeights& weights;
  kernels::cuda::CacheArgs cache;
  const SelectionRows* selection = nullptr;
  const unsigned char* newest_rows = nullptr;
  Rows q;    // [rows, heads * query dim]
  Rows out;  // [rows, heads * output dim]
};

class CudaAttention {
 public:
  CudaAttention(Device& device, Gemm& gemm, StepArena& arena,
                const CudaOptions& options);

  void BeginStep(const CudaStep& step, absl::Span<const Rope> ropes);
  void Attend(const CudaStep& step, const AttendCall& call);

  // False once a layer's work depended on how long sequences are: then no
  // step's can be replayed.
  bool repeatable() const { return repeatable_; }

 private:
  using Args = kernels::cuda::AttentionArgs;
  using Choice = kernels::cuda::AttentionChoice;

  bool Choose(const kernels::AttnLayout& layout,
              const kernels::RowFormat& format, bool many_rows,
              Choice* choice) const;
  int ThreadBlocks(const Choice& choice) const;
  bool PagedFits(const AttendCall& call) const;
  void AttendPaged(const CudaStep& step, const AttendCall& call,
                   bool generated);
  void AttendBuilt(const CudaStep& step, const AttendCall& call,
                   const CudaSpans& spans);
  void AttendBuiltSpan(const CudaStep& step, const AttendCall& call,
                       const CudaSpans& spans, size_t index,
                       const Choice& choice, Args args);

  // Fills `queries_` with a kind's rows: [rows, virtual heads, key, padded].
  void AbsorbQueries(const AttendCall& call, const CudaSpans& spans, int tile);
  // Every head's q[first, first + length), and zeros up to `padded`.
  void CastQueries(const AttendCall& call, const CudaSpans& spans, int first,
                   int length, uint16_t* to, int stride, int padded,
                   int branch);
  // Results go to the call's, or to `latents_`, which ProjectValues takes
  // there: out = sum over branches of W_UV latents.
  void SetOutput(const AttendCall& call, bool in_latent, int tile, Args& args);
  void ProjectValues(const AttendCall& call, const CudaSpans& spans, int tile);
  void Launch(const Choice& choice, const DevicePlan& plan, Args args);

  Device& device_;
  Gemm& gemm_;
  const CudaOptions options_;
  AttentionPlans plans_;
  BuiltRows built_;
  // bf16: queries' parts to absorb, queries, results in the latent; f32: what
  // earlier parts gave.
  DeviceBuffer nope_, queries_, latents_, state_, state_lse_;
  bool repeatable_ = true;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_ATTENTION_H_

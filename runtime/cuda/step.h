// CudaStep: a batch as the kernels take it, in device memory.
// Threads: one at a time. Valid until the arena is reset.
#ifndef MLA_RUNTIME_CUDA_STEP_H_
#define MLA_RUNTIME_CUDA_STEP_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/attention_args.h"
#include "runtime/cuda/step_arena.h"
#include "runtime/rope.h"
#include "runtime/step_batch.h"

namespace mla::runtime {

// The spans of one kind: of generated tokens, or of prompts.
struct CudaSpans {
  std::vector<kernels::cuda::AttentionSpan> host;
  const kernels::cuda::AttentionSpan* device = nullptr;
  std::vector<const int32_t*> tokens;  // of each span's sequence, on the host
  int first_row = 0;                   // of the step's rows
  int num_rows = 0;

  bool empty() const { return host.empty(); }
};

struct CudaStep {
  const StepBatch* batch = nullptr;
  int rows = 0;
  int end_position = 0;       // past every row's
  int32_t* tokens = nullptr;  // [rows]
  // [rows]: of each row's token...
  const int32_t* positions = nullptr;
  const int32_t* blocks = nullptr;  // ...its block, where its sequence's...
  const int32_t* tables = nullptr;  // ...block table begins in block_tables
  const int32_t* block_tables = nullptr;
  const int32_t* logit_rows = nullptr;
  CudaSpans generated, prompt;

  struct Angles {  // [rows, angles]
    const float* cos = nullptr;
    const float* sin = nullptr;
  };
  std::vector<Angles> ropes;
};

CudaStep MakeCudaStep(const StepBatch& batch, absl::Span<const Rope> ropes,
                      int block_tokens, StepArena& arena);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_STEP_H_

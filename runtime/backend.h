// Backend: where weights, cache and activations live, and the ops on them.
// The model's layer loop is written once against this; see runtime/model.cc.
// Owns:    everything its New... functions return, until it is destroyed.
// Threads: one at a time (loading, then the engine's).
// Rows are in the backend's memory; only what Read returns is readable by the
// caller.
#ifndef MLA_RUNTIME_BACKEND_H_
#define MLA_RUNTIME_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/attn_layout.h"
#include "kernels/dtype.h"
#include "kernels/router_args.h"
#include "kernels/views.h"
#include "runtime/rope.h"
#include "runtime/row_steps.h"
#include "runtime/step_batch.h"

namespace mla::runtime {

using kernels::Rows;

// Weights in the backend's own form; opaque to the model.
class Matrix {
 public:
  virtual ~Matrix() = default;
};
class UpProjection {
 public:
  virtual ~UpProjection() = default;
};

// Where layers' weights are codes, what is multiplied by no layer of its own is
// not (DeepSeek-V3, 2412.19437, section 3.3.1), and on a GPU nor are embeddings
// and the output head. On the CPU, where each token reads all of the head, it
// has a byte each, as llama.cpp's Q8_0 and Q4_0 files have it.
inline kernels::DType WideType(kernels::DType weights) {
  return weights == kernels::DType::kF32 ? weights : kernels::DType::kBF16;
}
inline kernels::DType HeadType(kernels::DType weights) {
  const bool groups =
      weights == kernels::DType::kQ8_0 || weights == kernels::DType::kQ4_1;
  return groups ? kernels::DType::kQ8_0 : WideType(weights);
}

// Fills `dst` [cols] with a weight's row; called from several threads.
using RowSource = std::function<void(int row, float* dst)>;

// `count` matrices [outputs, inputs]; row i of matrix m is row
// m * outputs + i. None if count is 0.
struct StackedWeights {
  int count = 0;
  int outputs = 0;
  int inputs = 0;
  RowSource rows;
};

struct LinearWeights {
  const Matrix* w = nullptr;    // [outputs, inputs]
  const float* bias = nullptr;  // [outputs] in the backend, or null
};

// EG-MLA's, see kernels/cpu/gated_rows.h: keys and values that the token gates.
struct GatedWeights {
  const Matrix* up = nullptr;     // [heads * (nope + v), latent]
  const Matrix* gate = nullptr;   // [heads * (nope + v), embedding]
  const Matrix* table = nullptr;  // [vocabulary, embedding]
  const float* norm = nullptr;
  const float* norm_bias = nullptr;
  float eps = 0;
  int nope = 0;
  int rope = 0;
  int v_dim = 0;
};

struct AttentionWeights {
  kernels::AttnLayout layout;
  float scale = 1.0f;
  const UpProjection* up = nullptr;  // null: rows are keys and values
  int rope = 0;                      // of keys that are rotated on read
  std::shared_ptr<const GatedWeights> gated;  // not null: instead of `up`
};

struct ExpertWeights {
  std::vector<const Matrix*> gate_up;  // [2 * intermediate, hidden] each
  std::vector<const Matrix*> down;     // [hidden, intermediate] each
  kernels::RouterArgs router;          // its correction in the backend
  // False: experts that return their input are another rank's to add.
  bool adds_identities = true;
};

// Which expert each row was sent to, in the backend's memory: [rows, top_k].
struct RoutingRows {
  int rows = 0;
  int top_k = 0;
  int32_t* experts = nullptr;
  float* weights = nullptr;
};

// Chooses the rows that a query attends to (DeepSeek-V3.2).
struct IndexerInputs {
  int heads = 0;
  int top_k = 0;
  Rows queries;  // [rows, heads * index_head_dim], rotated
  Rows weights;  // [rows, heads]
};

// The positions that each row's query attends to, in the backend's memory:
// [rows, top_k], ascending; where a query sees fewer tokens, those, and rubbish
// behind.
struct SelectionRows {
  int rows = 0;
  int top_k = 0;
  int32_t* positions = nullptr;
};

// UNIMPLEMENTED if no cache has rows of the type for such layers.
absl::Status CheckCacheRows(absl::Span<const kernels::AttnLayout> layers,
                            kernels::DType dtype);

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string Name() const = 0;

  // Called first by the thread that makes all other calls, but for Name and
  // what is const.
  virtual void Attach() {}

  // ---- loading
  // UNIMPLEMENTED if it cannot compute with weights of the type.
  virtual absl::Status CheckWeights(kernels::DType dtype) const = 0;
  virtual const Matrix* NewMatrix(kernels::DType dtype, int outputs, int inputs,
                                  const RowSource& rows) = 0;
  virtual const float* NewVector(absl::Span<const float> values) = 0;
  // Key matrices per virtual head, or per group if not to `absorb`; value
  // matrices per virtual head: see kernels/cpu/attention.h.
  virtual const UpProjection* NewUpProjection(kernels::DType dtype,
                                              const StackedWeights& k,
                                              bool absorb,
                                              const StackedWeights& v) = 0;
  virtual Rows NewRows(int rows, int cols) = 0;
  // Bytes that weights and activations take.
  virtual int64_t AllocatedBytes() const = 0;

  // Whether queries, keys, values and probabilities are rounded to bf16.
  virtual bool rounds_attention() const { return false; }

  // ---- the cache: one slab, a block id is valid in every layer
  // What a cache may take where nobody says; asked when all else is loaded.
  virtual int64_t DefaultCacheBytes() = 0;
  // RESOURCE_EXHAUSTED if the memory is not there; CheckCacheRows' errors.
  virtual absl::Status AllocateCache(
      absl::Span<const kernels::AttnLayout> layers, kernels::DType dtype,
      int block_tokens, int num_blocks) = 0;
  // Bytes of one block in all layers, as allocated.
  virtual int64_t BlockBytes() const = 0;
  virtual void CopyBlock(int32_t from, int32_t to) = 0;

  // ---- one step; `batch` stays valid until Read or Sample returns
  virtual void BeginStep(const StepBatch& batch,
                         absl::Span<const Rope> ropes) = 0;
  // Asked before a step's first op by a caller whose ops, up to Read, are the
  // same for every batch of as many rows: true if the backend does them itself,
  // as it saw them before, and only Read or Sample is left to call.
  virtual bool Replay() { return false; }
  virtual void Embed(const Matrix* table, float scale, Rows y) = 0;
  virtual void RmsNorm(Rows x, const float* w, float eps, Rows y) = 0;
  virtual void LayerNorm(Rows x, const float* w, const float* bias, float eps,
                         Rows y) = 0;
  virtual void RmsNormHeads(Rows x, int heads, int head_stride, int head_dim,
                            const float* w, float eps) = 0;
  virtual void Linear(Rows x, const LinearWeights& w, Rows y) = 0;
  // Rotates ropes[rope].dim elements of every head, from x's first column on.
  virtual void Rotate(int rope, Rows x, int heads, int head_stride) = 0;
  // Multiplies each row by 1 + beta * log(1 + floor(position / period)).
  virtual void ScaleByPosition(float beta, int period, Rows x) = 0;
  // Stores the step's rows, which may have been changed by `steps` afterwards;
  // where a row stands for several tokens, adds them.
  virtual void WriteRows(int layer, const RowSteps& steps, Rows x) = 0;
  // Valid until the next one, as routings are.
  virtual SelectionRows Select(int layer, const AttentionWeights& w,
                               const IndexerInputs& indexer) = 0;
  // `selection` may be null: a query attends to all rows.
  virtual void Attend(int layer, const AttentionWeights& w,
                      const SelectionRows* selection, Rows q, Rows out) = 0;
  // See kernels/cpu/gating.h.
  virtual void SigmoidMul(Rows x, Rows y) = 0;
  virtual void ScaleBySigmoidDot(Rows a, Rows b, Rows x) = 0;
  virtual void ScaleParts(Rows logits, Rows x) = 0;
  // Of each row's position / period.
  virtual void Sinusoids(int period, Rows y) = 0;
  virtual void SiluMul(Rows x, Rows y) = 0;
  virtual void AddScaled(Rows x, float scale, Rows y) = 0;
  // `logits` [rows, experts and identities].
  virtual RoutingRows Route(Rows logits, const kernels::RouterArgs& router) = 0;
  virtual void Experts(Rows x, const RoutingRows& routing,
                       const ExpertWeights& w, Rows y) = 0;
  virtual void Gather(Rows x, absl::Span<const int> rows, Rows y) = 0;
  // Of one rank among several, which all call it: the sum of their x, in the
  // order of the ranks, the same bits on each.
  virtual void AllReduce(Rows /*x*/) {}
  // Ends a step: draws its tokens from the logits, which are changed. By what
  // it returns, Drawn asks for them.
  virtual int64_t Sample(Rows logits) = 0;
  // Waits for a step's draws. Valid until the next step but one ends.
  virtual absl::Span<const kernels::Drawn> Drawn(int64_t step) = 0;
  // Whether a step may begin before the draws of the one before are asked for,
  // and take tokens from there (StepBatch::awaited).
  virtual bool runs_ahead() const { return false; }
  // Waits for the step and returns rows that the caller may read, until the
  // next call.
  virtual Rows Read(Rows x) = 0;
  // The same for anything else in the backend's memory, and the way back.
  virtual void CopyOut(const void* from, size_t bytes, void* to) = 0;
  virtual void CopyIn(const void* from, size_t bytes, void* to) = 0;
  // Once a device has failed, why, and for good: what ops give is rubbish from
  // then on. Asked after Read, and after loading.
  virtual absl::Status status() const { return absl::OkStatus(); }
  // Of one rank among several, when it cannot go on: the others wait for it no
  // more, and have failed, too.
  virtual void Abandon(const absl::Status& /*why*/) {}
};

// Applies the steps to x, an op each.
void Apply(Backend& backend, const RowSteps& steps, Rows x);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_BACKEND_H_

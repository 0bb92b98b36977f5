// A backend that works until the test says so, and then has failed for good, as
// a device does.
#ifndef MLA_TESTS_SUPPORT_FAILING_BACKEND_H_
#define MLA_TESTS_SUPPORT_FAILING_BACKEND_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "runtime/backend.h"

namespace mla::testing {

using runtime::Rows;

class FailingBackend : public runtime::Backend {
 public:
  // Fails after `*steps_left` steps.
  FailingBackend(std::unique_ptr<runtime::Backend> real,
                 std::shared_ptr<std::atomic<int>> steps_left)
      : real_(std::move(real)), steps_left_(std::move(steps_left)) {}

  Rows Read(Rows x) override {
    if (steps_left_->fetch_sub(1) <= 0) Fail();
    return real_->Read(x);
  }
  int64_t Sample(Rows logits) override { return real_->Sample(logits); }
  absl::Span<const kernels::Drawn> Drawn(int64_t step) override {
    if (steps_left_->fetch_sub(1) <= 0) Fail();
    return real_->Drawn(step);
  }
  void Fail() {
    if (status_.ok()) {
      status_ = absl::InternalError("unspecified launch failure");
    }
  }
  absl::Status status() const override {
    return status_.ok() ? real_->status() : status_;
  }
  // Of what has failed, nobody hears any more, unless it says so.
  void AllReduce(Rows x) override {
    if (status_.ok()) real_->AllReduce(x);
  }
  void Abandon(const absl::Status& why) override { real_->Abandon(why); }
  void CopyOut(const void* from, size_t bytes, void* to) override {
    real_->CopyOut(from, bytes, to);
  }
  void CopyIn(const void* from, size_t bytes, void* to) override {
    real_->CopyIn(from, bytes, to);
  }

  std::string Name() const override { return real_->Name(); }
  absl::Status CheckWeights(kernels::DType dtype) const override {
    return real_->CheckWeights(dtype);
  }
  const runtime::Matrix* NewMatrix(kernels::DType dtype, int outputs,
                                   int inputs,
                                   const runtime::RowSource& rows) override {
    return real_->NewMatrix(dtype, outputs, inputs, rows);
  }
  const float* NewVector(absl::Span<const float> values) override {
    return real_->NewVector(values);
  }
  const runtime::UpProjection* NewUpProjection(
      kernels::DType dtype, const runtime::StackedWeights& k, bool absorb,
      const runtime::StackedWeights& v) override {
    return real_->NewUpProjection(dtype, k, absorb, v);
  }
  Rows NewRows(int rows, int cols) override {
    return real_->NewRows(rows, cols);
  }
  int64_t AllocatedBytes() const override { return real_->AllocatedBytes(); }
  int64_t DefaultCacheBytes() override { return real_->DefaultCacheBytes(); }
  absl::Status AllocateCache(absl::Span<const kernels::AttnLayout> layers,
                             kernels::DType dtype, int block_tokens,
                             int num_blocks) override {
    return real_->AllocateCache(layers, dtype, block_tokens, num_blocks);
  }
  int64_t BlockBytes() const override { return real_->BlockBytes(); }
  void CopyBlock(int32_t from, int32_t to) override {
    real_->CopyBlock(from, to);
  }
  void BeginStep(const runtime::StepBatch& batch,
                 absl::Span<const runtime::Rope> ropes) override {
    real_->BeginStep(batch, ropes);
  }
  void Embed(const runtime::Matrix* table, float scale, Rows y) override {
    real_->Embed(table, scale, y);
  }
  void RmsNorm(Rows x, const float* w, float eps, Rows y) override {
    real_->RmsNorm(x, w, eps, y);
  }
  void LayerNorm(Rows x, const float* w, const float* bias, float eps,
                 Rows y) override {
    real_->LayerNorm(x, w, bias, eps, y);
  }
  void RmsNormHeads(Rows x, int heads, int head_stride, int head_dim,
                    const float* w, float eps) override {
    real_->RmsNormHeads(x, heads, head_stride, head_dim, w, eps);
  }
  void Linear(Rows x, const runtime::LinearWeights& w, Rows y) override {
    real_->Linear(x, w, y);
  }
  void Rotate(int rope, Rows x, int heads, int head_stride) override {
    real_->Rotate(rope, x, heads, head_stride);
  }
  void ScaleByPosition(float beta, int period, Rows x) override {
    real_->ScaleByPosition(beta, period, x);
  }
  void WriteRows(int layer, const runtime::RowSteps& steps, Rows x) override {
    real_->WriteRows(layer, steps, x);
  }
  runtime::SelectionRows Select(
      int layer, const runtime::AttentionWeights& w,
      const runtime::IndexerInputs& indexer) override {
    return real_->Select(layer, w, indexer);
  }
  void Attend(int layer, const runtime::AttentionWeights& w,
              const runtime::SelectionRows* selection, Rows q,
              Rows out) override {
    real_->Attend(layer, w, selection, q, out);
  }
  void SigmoidMul(Rows x, Rows y) override { real_->SigmoidMul(x, y); }
  void ScaleBySigmoidDot(Rows a, Rows b, Rows x) override {
    real_->ScaleBySigmoidDot(a, b, x);
  }
  void ScaleParts(Rows logits, Rows x) override {
    real_->ScaleParts(logits, x);
  }
  void Sinusoids(int period, Rows y) override { real_->Sinusoids(period, y); }
  void SiluMul(Rows x, Rows y) override { real_->SiluMul(x, y); }
  void AddScaled(Rows x, float scale, Rows y) override {
    real_->AddScaled(x, scale, y);
  }
  runtime::RoutingRows Route(Rows logits,
                             const kernels::RouterArgs& router) override {
    return real_->Route(logits, router);
  }
  void Experts(Rows x, const runtime::RoutingRows& routing,
               const runtime::ExpertWeights& w, Rows y) override {
    real_->Experts(x, routing, w, y);
  }
  void Gather(Rows x, absl::Span<const int> rows, Rows y) override {
    real_->Gather(x, rows, y);
  }

 private:
  const std::unique_ptr<runtime::Backend> real_;
  const std::shared_ptr<std::atomic<int>> steps_left_;
  absl::Status status_;
};

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_FAILING_BACKEND_H_

// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/cpu_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/sparse_attention.h"
#include "kernels/packed_matrix.h"

namespace mla::runtime {
namespace {

using kernels::DType;
using kernels::PackedMatrix;
using kernels::SequenceSpan;

struct CpuMatrix : Matrix {
  explicit CpuMatrix(PackedMatrix m) : packed(std::move(m)) {}
  PackedMatrix packed;
};

struct CpuUpProjection : UpProjection {
  kernels::UpProjection up;
};

const PackedMatrix& Packed(const Matrix* m) {
  return static_cast<const CpuMatrix*>(m)->packed;
}

// The cache's memory, taken from the system as it is touched.
class Slab {
 public:
  Slab() = default;
  ~Slab() { Unmap(); }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  absl::Status Map(size_t bytes) {
    Unmap();
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a cache of ", bytes, " bytes"));
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(p);
    bytes_ = bytes;
    return absl::OkStatus();
  }
  std::byte* data() const { return data_; }

 private:
  void Unmap() {
    if (data_ != nullptr) munmap(data_, bytes_);
    data_ = nullptr;
  }
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

class CpuBackend : public Backend {
 public:
  CpuBackend(kernels::Isa isa, int threads) : cpu_(isa, threads) {}

  std::string Name() const override {
    return absl::StrCat("cpu-", kernels::Name(cpu_.isa()));
  }

  const Matrix* NewMatrix(DType dtype, int outputs, int inputs,
                          const RowSource& rows) override {
    matrices_.push_back(
        std::make_unique<CpuMatrix>(Pack(dtype, outputs, inputs, rows)));
    return matrices_.back().get();
  }

  const float* NewVector(absl::Span<const float> values) override {
    const Rows rows = NewRows(1, static_cast<int>(values.size()));
    std::copy(values.begin(), values.end(), rows.data);
    return rows.data;
  }

  const UpProjection* NewUpProjection(DType dtype, int heads, int rank,
                                      int nope, int rope, int v_dim,
                                      const RowSource& k,
                                      const RowSource& v) override {
    auto owned = std::make_unique<CpuUpProjection>();
    kernels::UpProjection& up = owned->up;
    up.qk_nope_head_dim = nope;
    up.qk_rope_head_dim = rope;
    up.v_head_dim = v_dim;
    std::vector<float> w_uk(static_cast<size_t>(nope) * rank);
    for (int head = 0; head < heads; ++head) {
      for (int i = 0; i < nope; ++i) k(head * nope + i, &w_uk[i * rank]);
      up.k.push_back(Pack(dtype, nope, rank, [&](int row, float* dst) {
        std::copy_n(&w_uk[row * rank], rank, dst);
      }));
      up.k_absorbed.push_back(Pack(dtype, rank, nope, [&](int row, float* dst) {
        for (int i = 0; i < nope; ++i) dst[i] = w_uk[i * rank + row];
      }));
      up.v.push_back(Pack(dtype, v_dim, rank, [&](int row, float* dst) {
        v(head * v_dim + row, dst);
      }));
    }
    up_projections_.push_back(std::move(owned));
    return up_projections_.back().get();
  }

  Rows NewRows(int rows, int cols) override {
    const size_t floats = static_cast<size_t>(rows) * cols;
    buffers_.push_back(std::make_unique<float[]>(floats));
    allocated_bytes_ += floats * sizeof(float);
    return {buffers_.back().get(), rows, cols, static_cast<size_t>(cols)};
  }

  int64_t AllocatedBytes() const override { return allocated_bytes_; }

  absl::Status AllocateCache(absl::Span<const kernels::AttnLayout> layers,
                             DType dtype, int block_tokens,
                             int num_blocks) override {
    // Blocks outermost: a block is one piece of memory in all layers.
    layers_.clear();
    size_t block_bytes = 0;
    for (const kernels::AttnLayout& layout : layers) {
      layers_.push_back({.data = nullptr,
                         .block_bytes = block_bytes,  // the layer's offset
                         .block_tokens = block_tokens,
                         .row_width = layout.row_width,
                         .dtype = dtype});
      block_bytes += layers_.back().row_bytes() * block_tokens;
    }
    if (absl::Status s = slab_.Map(block_bytes * num_blocks); !s.ok()) return s;
    for (kernels::CacheRows& layer : layers_) {
      layer.data = slab_.data() + layer.block_bytes;
      layer.block_bytes = block_bytes;
    }
    block_bytes_ = block_bytes;
    return absl::OkStatus();
  }

  void CopyBlock(int32_t from, int32_t to) override {
    std::memcpy(slab_.data() + to * block_bytes_,
                slab_.data() + from * block_bytes_, block_bytes_);
  }

  void BeginStep(const StepBatch& batch, const Rope& rope) override {
    batch_ = &batch;
    const int rows = batch.num_tokens();
    rope_dim_ = rope.dim;
    cos_.resize(static_cast<size_t>(rows) * rope.dim / 2);
    sin_.resize(cos_.size());
    generated_.clear();
    prompt_.clear();
    for (const StepSpan& span : batch.generated) {
      generated_.push_back(span.rows);
      SetAngles(span, rope);
    }
    for (const StepSpan& span : batch.prompt) {
      prompt_.push_back(span.rows);
      SetAngles(span, rope);
    }
  }

  void Embed(const Matrix* table, float scale, Rows y) override {
    for (int row = 0; row < y.rows; ++row) {
      Packed(table).GetRow(batch_->tokens[row], y[row]);
      if (scale == 1.0f) continue;
      for (int i = 0; i < y.cols; ++i) y[row][i] *= scale;
    }
  }

  void RmsNorm(Rows x, const float* w, float eps, Rows y) override {
    kernels::RmsNorm(cpu_, x, w, eps, y);
  }

  void LayerNorm(Rows x, const float* w, const float* bias, float eps,
                 Rows y) override {
    kernels::LayerNorm(cpu_, x, w, bias, eps, y);
  }

  void RmsNormHeads(Rows x, int heads, int head_stride, int head_dim,
                    const float* w, float eps) override {
    kernels::RmsNormHeads(cpu_, x, heads, head_stride, head_dim, w, eps);
  }

  void Linear(Rows x, const LinearWeights& w, Rows y) override {
    kernels::Linear(cpu_, x, Packed(w.w), w.bias, y);
  }

  void Rotate(Rows x, int heads, int head_stride) override {
    const size_t half = rope_dim_ / 2;
    const Rows cos{cos_.data(), x.rows, static_cast<int>(half), half};
    const Rows sin{sin_.data(), x.rows, static_cast<int>(half), half};
    kernels::Rope(cpu_, {heads, head_stride, rope_dim_, cos, sin}, x);
  }

  void ScaleByPosition(float beta, int period, Rows x) override {
    for (const auto* spans : {&generated_, &prompt_}) {
      for (const SequenceSpan& span : *spans) {
        for (int i = 0; i < span.num_rows; ++i) {
          const int turns = (span.first_position + i) / period;
          const float scale = 1 + beta * std::log(1.0f + turns);
          float* row = x[span.first_row + i];
          for (int c = 0; c < x.cols; ++c) row[c] *= scale;
        }
      }
    }
  }

  void WriteRows(int layer, Rows x) override {
    const kernels::CacheRows& cache = layers_[layer];
    slots_.resize(x.rows);
    for (const auto* spans : {&generated_, &prompt_}) {
      for (const SequenceSpan& span : *spans) {
        for (int i = 0; i < span.num_rows; ++i) {
          slots_[span.first_row + i] =
              cache.Row(span.block_table, span.first_position + i);
        }
      }
    }
    kernels::WriteRows(cpu_, x, cache.dtype, slots_.data());
  }

  void Attend(int layer, const AttentionWeights& w,
              const IndexerInputs* indexer, Rows q, Rows out) override {
    const kernels::AttentionOp op{
        w.layout, w.scale,
        w.up == nullptr ? nullptr
                        : &static_cast<const CpuUpProjection*>(w.up)->up};
    if (indexer != nullptr) {
      const kernels::Indexer choose{indexer->heads, indexer->top_k,
                                    indexer->queries, indexer->weights};
      kernels::AttendDecodeSparse(cpu_, op, choose, layers_[layer],
                                  generated_.data(),
                                  static_cast<int>(generated_.size()), q, out);
      kernels::AttendPrefillSparse(cpu_, op, choose, layers_[layer],
                                   prompt_.data(),
                                   static_cast<int>(prompt_.size()), q, out);
      return;
    }
    kernels::AttendDecode(cpu_, op, layers_[layer], generated_.data(),
                          static_cast<int>(generated_.size()), q, out);
    kernels::AttendPrefill(cpu_, op, layers_[layer], prompt_.data(),
                           static_cast<int>(prompt_.size()), q, out);
  }

  void SiluMul(Rows x, Rows y) override { kernels::SiluMul(cpu_, x, y); }

  void AddScaled(Rows x, float scale, Rows y) override {
    kernels::AddScaled(cpu_, x, scale, y);
  }

  Routing Route(Rows logits, const kernels::RouterArgs& router) override {
    const size_t pairs = static_cast<size_t>(logits.rows) * router.top_k;
    Routing routing{std::vector<int32_t>(pairs), std::vector<float>(pairs)};
    kernels::Route(router, logits, routing.experts.data(),
                   routing.weights.data());
    return routing;
  }

  void Experts(Rows x, const Routing& routing, const ExpertWeights& w,
               Rows y) override {
    std::vector<const PackedMatrix*> gate_up, down;
    for (const Matrix* m : w.gate_up) gate_up.push_back(&Packed(m));
    for (const Matrix* m : w.down) down.push_back(&Packed(m));
    kernels::RunExperts(cpu_, x, gate_up, down, w.router.top_k,
                        routing.experts.data(), routing.weights.data(), y);
  }

  void Gather(Rows x, absl::Span<const int> rows, Rows y) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(x[rows[i]], x.cols, y[static_cast<int>(i)]);
    }
  }

  Rows Read(Rows x) override { return x; }

 private:
  PackedMatrix Pack(DType dtype, int outputs, int inputs,
                    const RowSource& rows) {
    PackedMatrix packed(dtype, outputs, inputs);
    cpu_.pool().Run(packed.panels(), [&](int panel, int thread) {
      kernels::Scratch& scratch = cpu_.ThreadScratch(thread);
      scratch.Reset();
      float* row = scratch.Take<float>(inputs);
      const int first = panel * kernels::kPanel;
      const int end = std::min(first + kernels::kPanel, outputs);
      for (int i = first; i < end; ++i) {
        rows(i, row);
        packed.SetRow(i, row);
      }
    });
    allocated_bytes_ += packed.bytes();
    return packed;
  }

  void SetAngles(const StepSpan& span, const Rope& rope) {
    const size_t half = rope.dim / 2;
    for (int i = 0; i < span.rows.num_rows; ++i) {
      const size_t row = span.rows.first_row + i;
      rope.Angles(span.rows.first_position + i, span.long_prompt,
                  &cos_[row * half], &sin_[row * half]);
    }
  }

  kernels::CpuContext cpu_;
  std::vector<std::unique_ptr<CpuMatrix>> matrices_;
  std::vector<std::unique_ptr<CpuUpProjection>> up_projections_;
  std::vector<std::unique_ptr<float[]>> buffers_;
  int64_t allocated_bytes_ = 0;

  Slab slab_;
  size_t block_bytes_ = 0;
  std::vector<kernels::CacheRows> layers_;

  // The current step.
  const StepBatch* batch_ = nullptr;
  int rope_dim_ = 0;
  std::vector<float> cos_, sin_;  // [rows, rope_dim / 2]
  std::vector<SequenceSpan> generated_, prompt_;
  std::vector<std::byte*> slots_;
};

}  // namespace

std::unique_ptr<Backend> NewCpuBackend(kernels::Isa isa, int num_threads) {
  return std::make_unique<CpuBackend>(isa, num_threads);
}

}  // namespace mla::runtime

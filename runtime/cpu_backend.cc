// Tested by tests/runtime/model_golden_test.cc.
#include "runtime/cpu_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/gated_rows.h"
#include "kernels/cpu/gating.h"
#include "kernels/cpu/linear.h"
#include "kernels/cpu/moe.h"
#include "kernels/cpu/sample.h"
#include "kernels/cpu/sparse_attention.h"
#include "kernels/cpu/time_merge.h"
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

// Angles of each of a step's rows, and of every position so far where keys are
// rotated on read.
struct RopeTables {
  const Rope* rope = nullptr;
  std::vector<float> cos, sin;                    // [rows, angles]
  std::vector<float> position_cos, position_sin;  // [positions, angles]

  int angles() const { return static_cast<int>(rope->inv_freq.size()); }
  static Rows View(std::vector<float>& values, int cols) {
    return {values.data(), static_cast<int>(values.size()) / cols, cols,
            static_cast<size_t>(cols)};
  }
  // Angles of positions [0, end).
  void Extend(int end) {
    const size_t n = angles();
    for (size_t p = position_cos.size() / n; p < static_cast<size_t>(end);
         ++p) {
      position_cos.resize((p + 1) * n);
      position_sin.resize((p + 1) * n);
      rope->Angles(static_cast<int>(p), false, &position_cos[p * n],
                   &position_sin[p * n]);
    }
  }
};

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
  CpuBackend(kernels::Isa isa, int threads, Part rank,
             std::shared_ptr<HostRanks> ranks)
      : cpu_(isa, threads), rank_(rank), ranks_(std::move(ranks)) {}

  std::string Name() const override {
    return absl::StrCat("cpu-", kernels::Name(cpu_.isa()));
  }

  absl::Status CheckWeights(DType dtype) const override {
    for (const DType has :
         {DType::kBF16, DType::kQ8_0, DType::kQ4_1, DType::kF32}) {
      if (dtype == has) return absl::OkStatus();
    }
    return absl::UnimplementedError(
        absl::StrCat("weights in ", kernels::Name(dtype), " on backend '",
                     Name(), "': it has bf16, q8_0, q4_1 and f32"));
  }

  bool rounds_attention() const override {
    return cpu_.inner().bf16_attention();
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

  const UpProjection* NewUpProjection(DType weights, const StackedWeights& k,
                                      bool absorb,
                                      const StackedWeights& v) override {
    const DType dtype = WideType(weights);
    auto owned = std::make_unique<CpuUpProjection>();
    kernels::UpProjection& up = owned->up;
    std::vector<float> w_uk(static_cast<size_t>(k.outputs) * k.inputs);
    for (int head = 0; head < k.count; ++head) {
      for (int i = 0; i < k.outputs; ++i) {
        k.rows(head * k.outputs + i, &w_uk[static_cast<size_t>(i) * k.inputs]);
      }
      up.k.push_back(Pack(dtype, k.outputs, k.inputs, [&](int row, float* dst) {
        std::copy_n(&w_uk[static_cast<size_t>(row) * k.inputs], k.inputs, dst);
      }));
      if (!absorb) continue;
      up.k_absorbed.push_back(
          Pack(dtype, k.inputs, k.outputs, [&](int row, float* dst) {
            for (int i = 0; i < k.outputs; ++i) {
              dst[i] = w_uk[static_cast<size_t>(i) * k.inputs + row];
            }
          }));
    }
    for (int head = 0; head < v.count; ++head) {
      up.v.push_back(Pack(dtype, v.outputs, v.inputs, [&](int row, float* dst) {
        v.rows(head * v.outputs + row, dst);
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

  int64_t DefaultCacheBytes() override { return int64_t{1} << 30; }

  absl::Status AllocateCache(absl::Span<const kernels::AttnLayout> layers,
                             DType dtype, int block_tokens,
                             int num_blocks) override {
    if (absl::Status s = CheckCacheRows(layers, dtype); !s.ok()) return s;
    // Blocks outermost: a block is one piece of memory in all layers.
    layers_.clear();
    layouts_.assign(layers.begin(), layers.end());
    size_t block_bytes = 0;
    for (const kernels::AttnLayout& layout : layers) {
      layers_.push_back({.data = nullptr,
                         .block_bytes = block_bytes,  // the layer's offset
                         .block_tokens = block_tokens / layout.time_stride,
                         .format = kernels::RowFormatOf(layout, dtype)});
      block_bytes += layers_.back().row_bytes() * layers_.back().block_tokens;
    }
    if (absl::Status s = slab_.Map(block_bytes * num_blocks); !s.ok()) return s;
    for (kernels::CacheRows& layer : layers_) {
      layer.data = slab_.data() + layer.block_bytes;
      layer.block_bytes = block_bytes;
    }
    block_bytes_ = block_bytes;
    return absl::OkStatus();
  }

  int64_t BlockBytes() const override {
    return static_cast<int64_t>(block_bytes_);
  }

  void CopyBlock(int32_t from, int32_t to) override {
    std::memcpy(slab_.data() + to * block_bytes_,
                slab_.data() + from * block_bytes_, block_bytes_);
  }

  void BeginStep(const StepBatch& batch,
                 absl::Span<const Rope> ropes) override {
    batch_ = &batch;
    end_position_ = 0;
    generated_.clear();
    prompt_.clear();
    for (const StepSpan& span : batch.generated) {
      generated_.push_back(span.rows);
    }
    for (const StepSpan& span : batch.prompt) prompt_.push_back(span.rows);
    spans_ = prompt_;
    spans_.insert(spans_.end(), generated_.begin(), generated_.end());
    for (const SequenceSpan& span : spans_) {
      end_position_ =
          std::max(end_position_, span.first_position + span.num_rows);
    }
    ropes_.resize(ropes.size());
    for (size_t i = 0; i < ropes.size(); ++i) {
      RopeTables& tables = ropes_[i];
      tables.rope = &ropes[i];
      tables.cos.resize(batch.tokens.size() * tables.angles());
      tables.sin.resize(tables.cos.size());
      for (const StepSpan& span : batch.generated) SetAngles(span, tables);
      for (const StepSpan& span : batch.prompt) SetAngles(span, tables);
    }
  }

  void Embed(const Matrix* table, float scale, Rows y) override {
    cpu_.ForEach(y.rows, int64_t{y.rows} * y.cols, [&](int row, int) {
      Packed(table).GetRow(batch_->tokens[row], y[row]);
      if (scale == 1.0f) return;
      for (int i = 0; i < y.cols; ++i) y[row][i] *= scale;
    });
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

  void Rotate(int rope, Rows x, int heads, int head_stride) override {
    RopeTables& tables = ropes_[rope];
    const int angles = tables.angles();
    kernels::Rope(cpu_,
                  {heads, head_stride, tables.rope->dim, tables.rope->sets,
                   RopeTables::View(tables.cos, angles),
                   RopeTables::View(tables.sin, angles)},
                  x);
  }

  void ScaleByPosition(float beta, int period, Rows x) override {
    for (const SequenceSpan& span : spans_) {
      for (int i = 0; i < span.num_rows; ++i) {
        const int turns = (span.first_position + i) / period;
        const float scale = 1 + beta * std::log(1.0f + turns);
        float* row = x[span.first_row + i];
        for (int c = 0; c < x.cols; ++c) row[c] *= scale;
      }
    }
  }

  void WriteRows(int layer, const RowSteps& steps, Rows x) override {
    Apply(*this, steps, x);
    const kernels::CacheRows& cache = layers_[layer];
    if (layouts_[layer].time_stride > 1) {
      newest_rows_.resize(x.rows * cache.row_bytes());
      for (const SequenceSpan& span : spans_) {
        kernels::MergeRows(layouts_[layer], cache, span, x,
                           newest_rows_.data());
      }
      return;
    }
    slots_.resize(x.rows);
    for (const SequenceSpan& span : spans_) {
      for (int i = 0; i < span.num_rows; ++i) {
        slots_[span.first_row + i] =
            cache.Row(span.block_table, span.first_position + i);
      }
    }
    kernels::WriteRows(cpu_, x, cache.format, slots_.data());
  }

  SelectionRows Select(int layer, const AttentionWeights& w,
                       const IndexerInputs& indexer) override {
    const kernels::Indexer choose{indexer.heads, indexer.top_k, indexer.queries,
                                  indexer.weights};
    selected_.resize(batch_->tokens.size() * indexer.top_k);
    kernels::SelectTokens(cpu_, w.layout, choose, layers_[layer], spans_.data(),
                          static_cast<int>(spans_.size()), selected_.data());
    return {batch_->num_tokens(), indexer.top_k, selected_.data()};
  }

  void Attend(int layer, const AttentionWeights& w,
              const SelectionRows* selection, Rows q, Rows out) override {
    const kernels::CacheRows& cache = layers_[layer];
    kernels::AttentionOp op{
        w.layout, w.scale,
        w.up == nullptr ? nullptr
                        : &static_cast<const CpuUpProjection*>(w.up)->up};
    const auto generated = static_cast<int>(generated_.size());
    const auto prompts = static_cast<int>(prompt_.size());
    if (selection != nullptr) {
      const int32_t* selected = selection->positions;
      kernels::AttendDecodeSparse(cpu_, op, selection->top_k, selected, cache,
                                  generated_.data(), generated, q, out);
      kernels::AttendPrefillSparse(cpu_, op, selection->top_k, selected, cache,
                                   prompt_.data(), prompts, q, out);
      return;
    }
    if (const GatedWeights* g = w.gated.get()) {
      const kernels::GatedProjection gated{
          &Packed(g->up), &Packed(g->gate), &Packed(g->table), g->norm,
          g->norm_bias,   g->eps,           w.layout.heads,    g->nope,
          g->rope,        g->v_dim};
      kernels::AttendGated(cpu_, gated, w.scale, /*decode=*/true, cache,
                           generated_.data(), generated, q, out);
      kernels::AttendGated(cpu_, gated, w.scale, /*decode=*/false, cache,
                           prompt_.data(), prompts, q, out);
      return;
    }
    if (w.layout.rotate_on_read) {
      RopeTables& tables = ropes_[w.rope];
      tables.Extend(end_position_);
      op.cos = RopeTables::View(tables.position_cos, tables.angles());
      op.sin = RopeTables::View(tables.position_sin, tables.angles());
    }
    op.newest_rows = newest_rows_.data();
    kernels::AttendDecode(cpu_, op, cache, generated_.data(), generated, q,
                          out);
    // A prompt's token sees its chunk as it was then, which no tile can show.
    (w.layout.time_stride > 1 ? kernels::AttendDecode : kernels::AttendPrefill)(
        cpu_, op, cache, prompt_.data(), prompts, q, out);
  }

  void SigmoidMul(Rows x, Rows y) override { kernels::SigmoidMul(cpu_, x, y); }

  void ScaleBySigmoidDot(Rows a, Rows b, Rows x) override {
    kernels::ScaleBySigmoidDot(cpu_, a, b, x);
  }

  void ScaleParts(Rows logits, Rows x) override {
    kernels::ScaleParts(cpu_, logits, x);
  }

  void Sinusoids(int period, Rows y) override {
    for (const SequenceSpan& span : spans_) {
      for (int i = 0; i < span.num_rows; ++i) {
        kernels::Sinusoids((span.first_position + i) / period, y.cols,
                           y[span.first_row + i]);
      }
    }
  }

  void SiluMul(Rows x, Rows y) override { kernels::SiluMul(cpu_, x, y); }

  void AddScaled(Rows x, float scale, Rows y) override {
    kernels::AddScaled(cpu_, x, scale, y);
  }

  RoutingRows Route(Rows logits, const kernels::RouterArgs& router) override {
    chosen_.resize(static_cast<size_t>(logits.rows) * router.top_k);
    chosen_weights_.resize(chosen_.size());
    kernels::Route(router, logits, chosen_.data(), chosen_weights_.data());
    return {logits.rows, router.top_k, chosen_.data(), chosen_weights_.data()};
  }

  void Experts(Rows x, const RoutingRows& routing, const ExpertWeights& w,
               Rows y) override {
    std::vector<const PackedMatrix*> gate_up, down;
    for (const Matrix* m : w.gate_up) gate_up.push_back(&Packed(m));
    for (const Matrix* m : w.down) down.push_back(&Packed(m));
    kernels::RunExperts(cpu_, x, gate_up, down, w.router.top_k, routing.experts,
                        routing.weights, w.adds_identities, y);
  }

  void Gather(Rows x, absl::Span<const int> rows, Rows y) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(x[rows[i]], x.cols, y[static_cast<int>(i)]);
    }
  }

  void AllReduce(Rows x) override {
    if (ranks_ != nullptr) ranks_->Sum(rank_, x);
  }
  absl::Status status() const override {
    return ranks_ == nullptr ? absl::OkStatus() : ranks_->status();
  }
  void Abandon(const absl::Status& why) override {
    if (ranks_ != nullptr) ranks_->Abandon(why);
  }

  int64_t Sample(Rows logits) override {
    drawn_.resize(logits.rows);
    cpu_.ForEach(
        logits.rows, int64_t{logits.rows} * logits.cols, [&](int i, int) {
          const kernels::Draw& draw = batch_->draws[i];
          drawn_[i] =
              kernels::Sample(draw, batch_->changes.data() + draw.first_change,
                              logits[i], logits.cols);
        });
    return 0;
  }
  absl::Span<const kernels::Drawn> Drawn(int64_t /*step*/) override {
    return drawn_;
  }
  Rows Read(Rows x) override { return x; }
  void CopyOut(const void* from, size_t bytes, void* to) override {
    std::memcpy(to, from, bytes);
  }
  void CopyIn(const void* from, size_t bytes, void* to) override {
    std::memcpy(to, from, bytes);
  }

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

  static void SetAngles(const StepSpan& span, RopeTables& tables) {
    const size_t angles = tables.angles();
    for (int i = 0; i < span.rows.num_rows; ++i) {
      const size_t row = span.rows.first_row + i;
      tables.rope->Angles(span.rows.first_position + i, span.long_prompt,
                          &tables.cos[row * angles], &tables.sin[row * angles]);
    }
  }

  kernels::CpuContext cpu_;
  const Part rank_;
  const std::shared_ptr<HostRanks> ranks_;  // null: it is the only one
  std::vector<std::unique_ptr<CpuMatrix>> matrices_;
  std::vector<std::unique_ptr<CpuUpProjection>> up_projections_;
  std::vector<std::unique_ptr<float[]>> buffers_;
  int64_t allocated_bytes_ = 0;

  Slab slab_;
  size_t block_bytes_ = 0;
  std::vector<kernels::CacheRows> layers_;
  std::vector<kernels::AttnLayout> layouts_;

  // The current step.
  const StepBatch* batch_ = nullptr;
  int end_position_ = 0;  // past every query's
  std::vector<RopeTables> ropes_;
  std::vector<SequenceSpan> generated_, prompt_;
  // Both. A sequence that is computed again has one of each, and a row may
  // stand for tokens of both: so its prompt's first.
  std::vector<SequenceSpan> spans_;
  std::vector<std::byte*> slots_;
  std::vector<std::byte> newest_rows_;  // of the layer written last
  std::vector<int32_t> selected_, chosen_;
  std::vector<float> chosen_weights_;
  std::vector<kernels::Drawn> drawn_;
};

}  // namespace

std::unique_ptr<Backend> NewCpuBackend(kernels::Isa isa, int num_threads,
                                       Part rank,
                                       std::shared_ptr<HostRanks> ranks) {
  return std::make_unique<CpuBackend>(isa, num_threads, rank, std::move(ranks));
}

}  // namespace mla::runtime

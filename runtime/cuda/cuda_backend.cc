// Tested by tests/cuda/model_golden_cuda_test.cc and model_steps_cuda_test.cc.
#include "runtime/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/launch/cache.h"
#include "kernels/cuda/launch/moe.h"
#include "kernels/cuda/launch/rows.h"
#include "runtime/cuda/attention.h"
#include "runtime/cuda/experts.h"
#include "runtime/cuda/ranks.h"
#include "runtime/cuda/recorder.h"
#include "runtime/cuda/sampling.h"
#include "runtime/part.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

namespace cuda = kernels::cuda;
using kernels::AttnLayout;
using kernels::DType;

const DeviceMatrix& Of(const Matrix* m) {
  return static_cast<const DeviceMatrix&>(*m);
}

class CudaBackend : public Backend {
 public:
  // `ranks` null: the only one.
  CudaBackend(std::unique_ptr<Device> device, const CudaOptions& options,
              std::shared_ptr<CudaRanks> ranks, Part rank)
      : options_(options),
        rank_(rank),
        ranks_(std::move(ranks)),
        owned_(std::move(device)),
        device_(*owned_),
        gemm_(device_),
        uploader_(device_),
        arena_(device_),
        attention_(device_, gemm_, arena_, options),
        experts_(device_),
        recorder_(device_),
        sampling_(device_),
        narrow_(device_),
        newest_(device_),
        scores_(device_),
        selected_(device_),
        parts_(device_),
        read_(device_) {}
  ~CudaBackend() override {
    device_.Synchronize();
    device_.Free(slab_);
  }

  std::string Name() const override {
    return absl::StrCat(kCudaBackendName, " (", device_.name(), ")");
  }
  absl::Status status() const override { return device_.status(); }
  void Attach() override { device_.Use(); }
  void Abandon(const absl::Status& why) override {
    device_.Fail(why);
    if (ranks_ != nullptr) ranks_->Fail(why);
  }

  // ---- loading

  absl::Status CheckWeights(DType dtype) const override {
    if (dtype == DType::kBF16 || dtype == DType::kF8E4M3) {
      return absl::OkStatus();
    }
    return absl::UnimplementedError(
        absl::StrCat("weights in ", kernels::Name(dtype), " on backend '",
                     kCudaBackendName, "': its products are of bf16"));
  }

  const Matrix* NewMatrix(DType dtype, int outputs, int inputs,
                          const RowSource& rows) override {
    auto matrix = std::make_unique<DeviceMatrix>(device_);
    Fill({1, outputs, inputs, rows}, dtype, *matrix);
    return matrices_.emplace_back(std::move(matrix)).get();
  }

  const float* NewVector(absl::Span<const float> values) override {
    auto vector = std::make_unique<DeviceBuffer>(device_);
    auto* data = vector->Reserve<float>(values.size());
    allocated_bytes_ += vector->bytes();
    if (data != nullptr) CopyIn(values.data(), values.size() * 4, data);
    buffers_.push_back(std::move(vector));
    return data;
  }

  // Always bf16: they meet what attention reads and makes, which is.
  const UpProjection* NewUpProjection(DType /*dtype*/, const StackedWeights& k,
                                      bool absorb,
                                      const StackedWeights& v) override {
    auto up = std::make_unique<DeviceUpProjection>(device_);
    Fill(k, DType::kBF16, up->k);
    if (absorb && k.count > 0) FillTransposed(k, up->k_absorbed);
    Fill(v, DType::kBF16, up->v);
    return up_projections_.emplace_back(std::move(up)).get();
  }

  // Wider than asked for by the rows that a product may write for padding, and
  // each row aligned.
  Rows NewRows(int rows, int cols) override {
    const int stride = (cols + 63) / 64 * 64;
    const int padding = std::max(options_.generated_rows, options_.prompt_rows);
    auto buffer = std::make_unique<DeviceBuffer>(device_);
    auto* data = buffer->Reserve<float>(size_t(rows + padding) * stride);
    allocated_bytes_ += buffer->bytes();
    buffers_.push_back(std::move(buffer));
    return {data, rows, cols, static_cast<size_t>(stride)};
  }

  int64_t AllocatedBytes() const override { return allocated_bytes_; }
  bool rounds_attention() const override { return true; }

  // ---- the cache

  // A tenth is left for what grows with the first steps.
  int64_t DefaultCacheBytes() override { return device_.FreeBytes() / 10 * 9; }

  absl::Status AllocateCache(absl::Span<const AttnLayout> layers, DType dtype,
                             int block_tokens, int num_blocks) override {
    if (!device_.ok()) return device_.status();
    if (absl::Status s = CheckCacheRows(layers, dtype); !s.ok()) return s;
    block_tokens_ = block_tokens;
    layers_.clear();
    summed_.clear();
    std::vector<int64_t> offsets;
    int64_t block_bytes = 0;
    for (const AttnLayout& layout : layers) {
      offsets.push_back(block_bytes);
      const int64_t rows = block_tokens / layout.time_stride;
      block_bytes += rows * kernels::RowFormatOf(layout, dtype).bytes;
      // The kernels read pieces of 16 bytes.
      block_bytes = (block_bytes + 15) / 16 * 16;
    }
    block_bytes_ = block_bytes;
    device_.Synchronize();
    device_.Free(std::exchange(slab_, nullptr));
    device_.NoteMoved();
    absl::StatusOr<void*> memory =
        device_.Allocate(static_cast<size_t>(block_bytes) * num_blocks);
    if (!memory.ok()) return memory.status();
    slab_ = static_cast<unsigned char*>(*memory);
    for (size_t i = 0; i < layers.size(); ++i) {
      summed_.push_back(layers[i].value_length());
      layers_.push_back({slab_ + offsets[i], block_bytes, block_tokens,
                         layers[i].time_stride,
                         kernels::RowFormatOf(layers[i], dtype)});
    }
    return device_.status();
  }

  int64_t BlockBytes() const override { return block_bytes_; }

  void CopyBlock(int32_t from, int32_t to) override {
    device_.Check(cudaMemcpyAsync(slab_ + to * block_bytes_,
                                  slab_ + from * block_bytes_, block_bytes_,
                                  cudaMemcpyDeviceToDevice, device_.stream()),
                  "cudaMemcpyAsync of a block");
  }

  // ---- a step

  void BeginStep(const StepBatch& batch,
                 absl::Span<const Rope> ropes) override {
    recorder_.Finish();  // of a step that was never read
    arena_.Reset();
    ropes_ = ropes;
    step_ = MakeCudaStep(batch, ropes, block_tokens_, arena_);
    attention_.BeginStep(step_, ropes);
    shape_ = arena_.shape();  // what is sampled is no part of recorded work
    sampling_.BeginStep(batch, arena_);
    arena_.Upload();
    sampling_.FillAwaited(step_.tokens);
    gathered_ = false;
    max_tokens_ = static_cast<int>(RoundedUp(step_.end_position));
  }

  bool Replay() override {
    if (!options_.record || !step_.prompt.empty() || !attention_.repeatable()) {
      return false;
    }
    shape_.push_back(max_tokens_);
    return recorder_.Begin(shape_);
  }

  void Embed(const Matrix* table, float scale, Rows y) override {
    const DeviceMatrix& m = Of(table);
    Check(cuda::LaunchEmbed({step_.tokens, m.memory.data<void>(), m.outputs,
                             m.stride, m.dtype == DType::kF32, scale, y},
                            stream()),
          "embedding");
  }

  void RmsNorm(Rows x, const float* w, float eps, Rows y) override {
    Check(cuda::LaunchNorm({x, y, 1, 0, x.cols, w, nullptr, eps}, stream()),
          "norm");
  }

  void LayerNorm(Rows x, const float* w, const float* bias, float eps,
                 Rows y) override {
    Check(cuda::LaunchNorm({x, y, 1, 0, x.cols, w, bias, eps}, stream()),
          "norm");
  }

  void RmsNormHeads(Rows x, int heads, int head_stride, int head_dim,
                    const float* w, float eps) override {
    Check(cuda::LaunchNorm(
              {x, x, heads, head_stride, head_dim, w, nullptr, eps}, stream()),
          "norm of heads");
  }

  void Linear(Rows x, const LinearWeights& weights, Rows y) override {
    const DeviceMatrix& w = Of(weights.w);
    GemmArgs args;
    args.outputs = w.outputs;
    args.bias = weights.bias;
    args.in = w.dtype;
    args.w = {w.memory.data<void>(), w.stride, 0};
    args.inputs = w.inputs;
    auto* from = reinterpret_cast<std::byte*>(x.data);
    args.x.stride = static_cast<int64_t>(x.stride);
    if (w.dtype != DType::kF32) {
      const size_t rows =
          x.rows + std::max(options_.generated_rows, options_.prompt_rows);
      auto* narrow = narrow_.Reserve<uint16_t>(rows * w.stride);
      if (narrow == nullptr) return;
      Check(cuda::LaunchCast({x, 1, 0, x.cols, narrow, w.stride, 0, w.stride},
                             stream()),
            "cast");
      from = reinterpret_cast<std::byte*>(narrow);
      args.x.stride = w.stride;
      args.inputs = w.stride;  // zeros behind the inputs in both
    }
    if (w.has_codes()) {
      return LinearOfCodes(reinterpret_cast<const uint16_t*>(from), x.rows,
                           weights, y);
    }
    const auto multiply = [&](int first, int end, int tile) {
      args.rows = tile;
      for (int row = first; row < end; row += tile) {
        args.x.data = from + row * args.x.stride * kernels::SizeOf(w.dtype);
        args.y = {y[row], static_cast<int64_t>(y.stride), 0};
        gemm_.Run(args);
      }
    };
    // A tile's padding spills into the rows behind: prompts' come last.
    const int generated = gathered_ ? x.rows : step_.generated.num_rows;
    multiply(0, generated, options_.generated_rows);
    multiply(generated, x.rows, options_.prompt_rows);
  }

  void Rotate(int rope, Rows x, int heads, int head_stride) override {
    const Rope& r = ropes_[rope];
    const CudaStep::Angles& angles = step_.ropes[rope];
    Check(cuda::LaunchRotate(
              {x, heads, head_stride, r.dim, r.sets, angles.cos, angles.sin},
              stream()),
          "rotation");
  }

  void ScaleByPosition(float beta, int period, Rows x) override {
    Check(
        cuda::LaunchScaleByPosition(step_.positions, beta, period, x, stream()),
        "scale by position");
  }

  void WriteRows(int layer, const RowSteps& steps, Rows x) override {
    const cuda::CacheArgs& cache = layers_[layer];
    const bool in_one = cache.time_stride == 1 && CanWriteInOne(steps, x);
    if (!in_one) Apply(*this, steps, x);
    if (cache.time_stride == 1) {
      cuda::WriteRowsArgs args;
      args.cache = cache;
      args.x = x;
      args.positions = step_.positions;
      args.blocks = step_.blocks;
      if (in_one) AddSteps(steps, args);
      Check(cuda::LaunchWriteRows(args, stream()), "cache write");
      return;
    }
    cuda::MergeRowsArgs args;
    args.cache = cache;
    args.x = x;
    args.block_tables = step_.block_tables;
    args.summed = summed_[layer];
    args.newest =
        newest_.Reserve<unsigned char>(size_t(x.rows) * cache.format.bytes);
    // A sequence that is computed again has spans of both kinds, and a row may
    // stand for tokens of both: so its prompt's first.
    for (const CudaSpans* spans : {&step_.prompt, &step_.generated}) {
      args.spans = spans->device;
      args.num_spans = static_cast<int>(spans->host.size());
      if (spans->empty()) continue;
      Check(cuda::LaunchMergeRows(args, stream()), "merge of cached rows");
    }
  }

  SelectionRows Select(int layer, const AttentionWeights& w,
                       const IndexerInputs& indexer) override {
    cuda::SelectArgs args;
    args.cache = layers_[layer];
    args.index = w.layout.index;
    args.queries = indexer.queries;
    args.weights = indexer.weights;
    args.heads = indexer.heads;
    args.top_k = indexer.top_k;
    args.positions = step_.positions;
    args.tables = step_.tables;
    args.block_tables = step_.block_tables;
    args.max_tokens = max_tokens_;
    args.scores = scores_.Reserve<float>(size_t(step_.rows) * max_tokens_);
    args.selected =
        selected_.Reserve<int32_t>(size_t(step_.rows) * indexer.top_k);
    Check(cuda::LaunchSelect(args, stream()), "selection");
    return {step_.rows, indexer.top_k, args.selected};
  }

  void Attend(int layer, const AttentionWeights& w,
              const SelectionRows* selection, Rows q, Rows out) override {
    attention_.Attend(step_, {w, layers_[layer], selection,
                              newest_.data<unsigned char>(), q, out});
  }

  void SigmoidMul(Rows x, Rows y) override {
    Check(cuda::LaunchSigmoidMul(x, y, stream()), "gate");
  }
  void ScaleBySigmoidDot(Rows a, Rows b, Rows x) override {
    Check(cuda::LaunchScaleBySigmoidDot(a, b, x, stream()), "gate");
  }
  void ScaleParts(Rows logits, Rows x) override {
    Check(cuda::LaunchScaleParts(logits, x, stream()), "gates");
  }
  void Sinusoids(int period, Rows y) override {
    Check(cuda::LaunchSinusoids(step_.positions, period, y, stream()),
          "sinusoids");
  }
  void SiluMul(Rows x, Rows y) override {
    Check(cuda::LaunchSiluMul(x, y, stream()), "activation");
  }
  void AddScaled(Rows x, float scale, Rows y) override {
    Check(cuda::LaunchAddScaled(x, scale, y, stream()), "sum");
  }

  RoutingRows Route(Rows logits, const kernels::RouterArgs& router) override {
    return experts_.Route(logits, router);
  }
  void Experts(Rows x, const RoutingRows& routing, const ExpertWeights& w,
               Rows y) override {
    experts_.Run(x, routing, w, y);
  }

  void Gather(Rows x, absl::Span<const int> rows, Rows y) override {
    // The rows whose logits are wanted, which were uploaded with the step.
    gathered_ = true;
    Check(cuda::LaunchGather(x, step_.logit_rows, y, stream()), "gather");
  }

  // All have all parts, and each adds them up: NCCL's own sum is taken in an
  // order that depends on how many rows there are.
  void AllReduce(Rows x) override {
    if (ranks_ == nullptr || !device_.ok()) return;
    const size_t floats = x.rows * x.stride;
    auto* parts = parts_.Reserve<float>(floats * rank_.count);
    if (parts == nullptr) return;
    const absl::Status status =
        ranks_->AllGather(rank_.index, x.data, parts, floats, stream());
    if (!status.ok()) return device_.Fail(status);
    Check(cuda::LaunchSumParts(parts, rank_.count, floats, x, stream()),
          "sum over ranks");
  }

  int64_t Sample(Rows logits) override {
    recorder_.Finish();
    return sampling_.Sample(logits);
  }
  absl::Span<const kernels::Drawn> Drawn(int64_t step) override {
    return sampling_.Drawn(step);
  }
  // Among several, all ranks would have to hear what the first has drawn.
  bool runs_ahead() const override {
    return options_.run_ahead && ranks_ == nullptr;
  }

  Rows Read(Rows x) override {
    recorder_.Finish();
    const size_t floats =
        x.rows == 0 ? 0 : (x.rows - 1) * x.stride + static_cast<size_t>(x.cols);
    auto* host = read_.Reserve<float>(RoundedUp(floats));
    if (floats > 0 && device_.ok()) {
      Check(cudaMemcpyAsync(host, x.data, floats * sizeof(float),
                            cudaMemcpyDeviceToHost, stream()),
            "cudaMemcpyAsync of results");
    }
    device_.Synchronize();
    if (!device_.ok()) {  // rubbish, but there
      nothing_.resize(floats);
      host = nothing_.data();
    }
    return {host, x.rows, x.cols, x.stride};
  }

  void CopyOut(const void* from, size_t bytes, void* to) override {
    if (bytes == 0 || !device_.ok()) return;
    device_.Synchronize();
    Check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  }
  void CopyIn(const void* from, size_t bytes, void* to) override {
    if (bytes == 0 || !device_.ok()) return;
    device_.Synchronize();
    Check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  }

 private:
  // Its sums' order is not a matter of the rows: nothing is padded.
  void LinearOfCodes(const uint16_t* x, int rows, const LinearWeights& weights,
                     Rows y) {
    const DeviceMatrix& w = Of(weights.w);
    cuda::ExpertGemmArgs args;
    args.x = x;
    args.x_stride = w.stride;
    args.only = w.memory.data<unsigned char>();
    args.format = w.format();
    args.n = w.outputs;
    args.k = w.inputs;
    args.rows = rows;
    args.tile_rows = cuda::ExpertTileRows(rows, 1);
    args.y = y.data;
    args.y_stride = static_cast<int64_t>(y.stride);
    args.bias = weights.bias;
    Check(cuda::LaunchExpertGemm(args, stream()), "product with codes");
  }

  cudaStream_t stream() const { return device_.stream(); }
  void Check(cudaError_t error, const char* what) {
    device_.Check(error, what);
  }

  static bool CanWriteInOne(const RowSteps& steps, Rows x) {
    return steps.norms.size() <= cuda::kMaxRowSteps &&
           steps.rotations.size() <= cuda::kMaxRowSteps &&
           cuda::CanPrepareRows(x.cols);
  }

  void AddSteps(const RowSteps& steps, cuda::WriteRowsArgs& args) const {
    for (const NormStep& step : steps.norms) {
      const Pieces& at = step.at;
      args.norms[args.num_norms++] = {at.first,  at.count, at.stride,
                                      at.length, step.eps, step.weight,
                                      step.bias};
    }
    for (const RotateStep& step : steps.rotations) {
      args.turns[args.num_turns++] = {step.at.first, step.at.count,
                                      step.at.stride};
    }
    if (steps.rotations.empty()) return;
    const CudaStep::Angles& angles = step_.ropes[steps.rope];
    args.dim = ropes_[steps.rope].dim;
    args.sets = ropes_[steps.rope].sets;
    args.cos = angles.cos;
    args.sin = angles.sin;
  }

  void Fill(const StackedWeights& weights, DType dtype, DeviceMatrix& matrix) {
    matrix.dtype = dtype;
    matrix.count = weights.count;
    matrix.outputs = weights.outputs;
    matrix.inputs = weights.inputs;
    uploader_.Fill(weights.rows, matrix);
    allocated_bytes_ += static_cast<int64_t>(matrix.memory.bytes());
  }

  void FillTransposed(const StackedWeights& weights, DeviceMatrix& matrix) {
    const size_t inputs = weights.inputs;
    std::vector<float> all(size_t(weights.count) * weights.outputs * inputs);
    for (int row = 0; row < weights.count * weights.outputs; ++row) {
      weights.rows(row, &all[row * inputs]);
    }
    const auto column = [&](int row, float* dst) {
      const size_t first = row / inputs * weights.outputs;
      for (int i = 0; i < weights.outputs; ++i) {
        dst[i] = all[(first + i) * inputs + row % inputs];
      }
    };
    Fill({weights.count, weights.inputs, weights.outputs, column}, DType::kBF16,
         matrix);
  }

  const CudaOptions options_;
  const Part rank_;
  const std::shared_ptr<CudaRanks> ranks_;
  const std::unique_ptr<Device> owned_;
  Device& device_;
  Gemm gemm_;
  WeightUploader uploader_;
  StepArena arena_;
  CudaAttention attention_;
  CudaExperts experts_;
  Recorder recorder_;
  CudaSampling sampling_;

  std::vector<std::unique_ptr<DeviceMatrix>> matrices_;
  std::vector<std::unique_ptr<DeviceUpProjection>> up_projections_;
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
  int64_t allocated_bytes_ = 0;

  unsigned char* slab_ = nullptr;
  int64_t block_bytes_ = 0;
  int block_tokens_ = 1;
  std::vector<cuda::CacheArgs> layers_;
  std::vector<int> summed_;  // a row's first elements that merging adds up

  // The current step.
  CudaStep step_;
  std::vector<size_t> shape_;
  absl::Span<const Rope> ropes_;
  bool gathered_ = false;  // rows are those whose logits are wanted
  int max_tokens_ = 0;     // past any position
  DeviceBuffer narrow_;    // a product's rows as bf16
  DeviceBuffer newest_;    // merged rows of the layer written last
  DeviceBuffer scores_, selected_;
  DeviceBuffer parts_;  // of a sum over ranks
  PinnedBuffer read_;
  std::vector<float> nothing_;
};

}  // namespace

#ifndef MLA_CUDA_BACKEND_NAME
#define MLA_CUDA_BACKEND_NAME "cuda"
#endif
const char* const kCudaBackendName = MLA_CUDA_BACKEND_NAME;

absl::StatusOr<std::vector<std::unique_ptr<Backend>>> NewCudaBackends(
    int count, const CudaOptions& options) {
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(devices.emplace_back(), Device::Open(i));
    // What all compute alike must have the same bits.
    if (devices[i]->name() != devices[0]->name()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "tensor parallelism needs GPUs of one kind: the first is ",
          devices[0]->name(), ", another ", devices[i]->name()));
    }
  }
  std::shared_ptr<CudaRanks> ranks;
  if (count > 1) {
    ASSIGN_OR_RETURN(ranks, CudaRanks::Create(count));
  }
  std::vector<std::unique_ptr<Backend>> backends;
  for (int i = 0; i < count; ++i) {
    devices[i]->Use();
    devices[i]->Join(ranks, i);
    backends.push_back(std::make_unique<CudaBackend>(
        std::move(devices[i]), options, ranks, Part{i, count}));
    RETURN_IF_ERROR(backends.back()->status());
  }
  return backends;
}

}  // namespace mla::runtime

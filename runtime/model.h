// Model: a decoder's weights in a backend, and the layer loop over them.
// Threads: Load once, then Forward from one thread (the engine's).
// Shapes:  H heads, r kv_lora_rank, W row width; activations [rows, columns].
#ifndef MLA_RUNTIME_MODEL_H_
#define MLA_RUNTIME_MODEL_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/attention/attention_layer.h"
#include "runtime/backend.h"
#include "runtime/model_config.h"
#include "runtime/step_batch.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

struct FeedForward {
  LinearWeights gate_up;  // [gate | up]
  LinearWeights down;
  int intermediate_size = 0;
};

struct MoeLayer {
  LinearWeights router;
  ExpertWeights experts;
  FeedForward shared;                  // may be empty
  const float* output_norm = nullptr;  // A.X-K1's; may be null
};

// What transformers calls a layer's modules.
struct LayerNames {
  std::string layer;  // empty where the file's layer goes on in the next
  std::string attention;
  std::string mlp;
  std::string moe;
  std::string router;
};

struct Layer {
  LayerNames names;
  const float* input_norm = nullptr;
  const float* post_attention_norm = nullptr;
  AttentionLayer attention;
  FeedForward mlp;                // empty, or...
  std::unique_ptr<MoeLayer> moe;  // ...null, but for paired layers
};

// What a tap sees of RoutingRows and SelectionRows, and may change.
struct Routing {
  std::vector<int32_t> experts;  // [rows, top_k]
  std::vector<float> weights;
};
struct Selection {
  int top_k = 0;
  std::vector<int32_t> positions;  // [rows, top_k]
};

// Sees intermediate results by their names in transformers, for `verify`.
class ActivationTap {
 public:
  virtual ~ActivationTap() = default;
  virtual void OnActivation(std::string_view name, Rows x) = 0;
  // Before they are followed, and may be changed.
  virtual void OnRouting(std::string_view name, Routing& routing) = 0;
  virtual void OnSelection(std::string_view name, Selection& selection) = 0;
  // What the heads return, [rows, heads * v_head_dim], before the output
  // projection.
  virtual void OnAttended(Rows /*x*/) {}
};

struct ModelOptions {
  // Or kF32, or kF8E4M3 where the backend has it.
  kernels::DType weights_dtype = kernels::DType::kBF16;
  int max_step_tokens = 512;  // the most rows one Forward computes...
  int max_logit_rows = 64;    // ...and of how many it returns logits
};

class Model {
 public:
  // Called now and then while loading, with the share done in [0, 1].
  using Progress = std::function<void(double)>;

  static absl::StatusOr<std::unique_ptr<Model>> Load(
      const ModelConfig& config, const WeightReader& reader,
      std::unique_ptr<Backend> backend, const ModelOptions& options,
      const Progress& progress);
  // The layer `index` of that model alone, whose rows are cached as layer 0:
  // for RunLayers only. UNIMPLEMENTED for layers that need others.
  static absl::StatusOr<std::unique_ptr<Model>> LoadLayer(
      const ModelConfig& config, int index, const WeightReader& reader,
      std::unique_ptr<Backend> backend, const ModelOptions& options);

  // Computes the batch; its rows are written to the cache. Returns logits of
  // batch.logit_rows, [logit rows, vocab_size], valid until the next call; none
  // on ranks behind the first.
  Rows Forward(const StepBatch& batch, ActivationTap* tap = nullptr);
  // As Forward, and draws tokens; what it returns is for Backend::Drawn.
  int64_t Start(const StepBatch& batch);
  // See Backend::runs_ahead.
  bool runs_ahead() const;
  // All layers on the hidden states of a batch, in place; or of each only its
  // attention.
  void RunLayers(const StepBatch& batch, Rows x, ActivationTap* tap = nullptr);
  void RunAttention(const StepBatch& batch, Rows x, ActivationTap* tap);

  const ModelConfig& config() const { return config_; }
  Backend& backend() { return *backend_; }
  const Backend& backend() const { return *backend_; }
  const ModelOptions& options() const { return options_; }

 private:
  friend class ModelLoader;
  Model() = default;

  void AllocateActivations();
  Rows Compute(const StepBatch& batch, ActivationTap* tap);
  void StepLayers(Rows x, ActivationTap* tap);
  void StepAttention(const Layer& layer, Rows x, ActivationTap* tap);
  void Attention(const Layer& layer, Rows x, Rows y, ActivationTap* tap);
  void StoreRow(const AttentionLayer& layer, Rows row);
  void Mlp(const FeedForward& mlp, Rows x, Rows y);
  void Moe(const MoeLayer& moe, const LayerNames& names, Rows x, Rows y,
           ActivationTap* tap);

  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  ModelOptions options_;

  const Matrix* embedding_ = nullptr;
  std::vector<Layer> layers_;
  const float* final_norm_ = nullptr;
  const float* logit_norm_ = nullptr;  // final_norm_ * logit_scale
  LinearWeights lm_head_;

  // Activations of one step, [max_step_tokens, ...]...
  Rows hidden_, normed_, projected_, queries_, attended_, branch_, gating_;
  Rows gate_up_, activated_, router_logits_, shared_, shortcut_;
  Rows logit_hidden_, logits_;  // ...and [max_logit_rows, ...]
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_MODEL_H_

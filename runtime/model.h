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
#include "runtime/backend.h"
#include "runtime/model_config.h"
#include "runtime/step_batch.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

// Every projection that meets the layer's normed input is one matrix, whose
// outputs are [q | row] ([q_a | row] with a query latent): the right part is,
// once normed and rotated, the row that the cache stores. An indexer's weights
// of its heads stand behind it, and its queries behind q_b's.
struct AttentionLayer {
  LinearWeights in;
  LinearWeights q_b;                    // from the query latent; may be empty
  const float* index_k_norm = nullptr;  // of the indexer's key, a LayerNorm
  const float* index_k_bias = nullptr;
  const float* q_a_norm = nullptr;   // of the query latent
  const float* kv_a_norm = nullptr;  // of the key-value latent
  const float* q_norm = nullptr;     // per head
  const float* k_norm = nullptr;
  AttentionWeights attention;
  LinearWeights out;
};

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

// Sees intermediate results by their names in transformers, for `verify`.
class ActivationTap {
 public:
  virtual ~ActivationTap() = default;
  virtual void OnActivation(std::string_view name, Rows x) = 0;
  // Before it is followed, and may be changed.
  virtual void OnRouting(std::string_view name, Routing& routing) = 0;
};

struct ModelOptions {
  kernels::DType weights_dtype = kernels::DType::kBF16;  // or kF32
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

  // Computes the batch; its rows are written to the cache. Returns logits of
  // batch.logit_rows, [logit rows, vocab_size], valid until the next call.
  Rows Forward(const StepBatch& batch, ActivationTap* tap = nullptr);

  const ModelConfig& config() const { return config_; }
  Backend& backend() { return *backend_; }
  std::vector<kernels::AttnLayout> layouts() const;
  const ModelOptions& options() const { return options_; }

 private:
  friend class ModelLoader;
  Model() = default;

  void AllocateActivations();
  void Attention(int index, const AttentionLayer& layer, Rows x, Rows y);
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
  Rows hidden_, normed_, projected_, queries_, attended_, branch_;
  Rows gate_up_, activated_, router_logits_, shared_, shortcut_;
  Rows logit_hidden_, logits_;  // ...and [max_logit_rows, ...]
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_MODEL_H_

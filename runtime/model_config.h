// ModelConfig: the checked shape of a decoder, whatever file it came from.
// Every size is positive and bounded, and what must divide divides, so that
// later code multiplies them without overflow.
// Threads: immutable; any.
// Errors:  INVALID_ARGUMENT names the field; UNIMPLEMENTED the feature.
#ifndef MLA_RUNTIME_MODEL_CONFIG_H_
#define MLA_RUNTIME_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/attn_layout.h"
#include "kernels/dtype.h"
#include "kernels/router_args.h"
#include "nlohmann/json.hpp"
#include "runtime/attention/attention_config.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/part.h"
#include "runtime/rope.h"

namespace mla::runtime {

// Far above any published model's sizes, and small enough that the product of
// any three fits in 64 bits.
inline constexpr int kMaxModelSize = 1 << 20;
inline constexpr int kMaxModelLayers = 4096;
// Before the model_type of models that our converter made.
inline constexpr char kExtendedModelType[] = "mlaserve_";

struct MoeConfig {
  int experts = 0;
  int identity_experts = 0;          // that return their input; ids past those
  int intermediate_size = 0;         // of one expert
  int shared_intermediate_size = 0;  // of all shared experts; 0: none
  int first_layer = 0;               // earlier ones are dense
  kernels::RouterArgs router;        // its correction is a weight
};

struct ModelConfig {
  std::string architecture;  // model_type, or general.architecture
  int vocab_size = 0;
  int hidden_size = 0;
  int num_layers = 0;
  int intermediate_size = 0;  // of dense layers
  int max_position = 0;       // tokens of context
  float norm_eps = 0;
  bool tied_embeddings = false;
  std::vector<AttentionConfig> attention;  // [num_layers]
  std::vector<Rope> ropes;
  std::optional<MoeConfig> moe;
  // MiniCPM's scales; 1 elsewhere.
  float embedding_scale = 1.0f;
  float residual_scale = 1.0f;
  float logit_scale = 1.0f;

  std::vector<int32_t> eos_token_ids;
  std::optional<int32_t> bos_token_id;

  // LongCat-Flash (2509.01322): layers come in pairs. The first one's experts
  // run beside its dense network, and are added after the second.
  bool paired_layers = false;

  // Of one rank among several (shard.h), intermediate sizes are its own, and so
  // is `attention`.
  Part rank;

  bool IsMoe(int layer) const {
    return moe && layer >= moe->first_layer &&
           !(paired_layers && layer % 2 == 1);
  }
  bool IsDense(int layer) const { return !IsMoe(layer) || paired_layers; }
  // Whether a rounding error can change what is computed, not only how well:
  // which experts a token meets, or which tokens it attends to.
  bool Chooses() const;
  // Prompts longer than this turn by other angles: see Rope::long_above.
  int long_above() const;
  // The rows that one token caches: none in a layer that reads another's.
  std::vector<kernels::AttnLayout> Layouts() const;
  // Bytes that `tokens` take in the caches of all layers, where a block of
  // that many would end.
  int64_t BlockBytes(kernels::DType row_dtype, int tokens) const;
  // The same of one token: a share of a row, where rows stand for several.
  double KvBytesPerToken(kernels::DType row_dtype) const;
  // `tokens`, or the next lower number that ends no block within a row.
  int RoundBlockTokens(int tokens) const;
  // Weights, embeddings included.
  int64_t Parameters() const;
};

// `config` is a Hugging Face config.json.
absl::StatusOr<ModelConfig> ModelConfigFromHuggingFace(
    const nlohmann::json& config);

// `rope_divisors`: the tensor rope_freqs.weight, or empty. `tied`: the file
// has no output.weight.
absl::StatusOr<ModelConfig> ModelConfigFromGguf(
    const GgufMetadata& metadata, absl::Span<const float> rope_divisors,
    bool tied);

// Checks ranges and divisibility; both functions above call it.
absl::Status Validate(const ModelConfig& config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_MODEL_CONFIG_H_

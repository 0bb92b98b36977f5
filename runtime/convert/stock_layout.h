// The stock layout: a converted model as a deepseek_v3 folder that transformers
// loads, runs and trains without code of ours.
//
// deepseek_v3 norms its latents, ours have no norm. A constant lane undoes it:
// the latent gets one element more, whose weights are zero and whose bias B is
// far larger than all others, so that the norm divides by B / sqrt(rank + 1)
// whatever the token, and its weight, as large, multiplies by the same. The
// lane's own norm weight and its column of kv_b are zero: neither gets a
// gradient while the other is zero, and a cached row holds no large number.
// A query latent gets a lane as well. q_proj has no bias there; biased queries
// (Qwen2) go through a latent that is the layer's input and a lane, whose
// column of q_b is the bias.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_STOCK_LAYOUT_H_
#define MLA_RUNTIME_CONVERT_STOCK_LAYOUT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/convert/conversion_spec.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// UNIMPLEMENTED, with the reason, if such a folder cannot hold what `spec`
// would make of the model. Else who would compute something else from it;
// empty: nobody known.
absl::StatusOr<std::string> CheckStock(const Checkpoint& checkpoint,
                                       const ModelConfig& config,
                                       const ConversionSpec& spec);

// Its config.json, for layers that ToStock made; all must have one shape.
absl::StatusOr<nlohmann::ordered_json> StockConfig(
    const Checkpoint& checkpoint, const ModelConfig& config,
    const std::vector<MlaShape>& layers, kernels::DType type);

// Whether any layer's queries are biased: then all have a query latent.
bool HasQueryBias(const Checkpoint& checkpoint, const ModelConfig& config);

// `weights` rearranged so, to be saved as `type`. `input_norm`: the weight of
// the norm before the layer. `query_bias`: as HasQueryBias says.
MlaWeights ToStock(const MlaWeights& weights,
                   const std::vector<float>& input_norm, kernels::DType type,
                   bool query_bias);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_STOCK_LAYOUT_H_

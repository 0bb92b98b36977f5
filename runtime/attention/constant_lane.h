// A constant lane: a latent's last element that no token changes, because its
// row of kv_a_proj_with_mqa is zero and its bias is not. Where it is so much
// larger than all others that kv_a_layernorm divides by it alone, the norm is
// a fixed factor, and MLA without norms of the latent is written as stock
// deepseek_v3, whose latents always have one (runtime/convert/stock_layout.h).
// Nothing reads the lane, so it need not be cached, nor the norm computed.
// A trained lane is a latent's element like any other.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_ATTENTION_CONSTANT_LANE_H_
#define MLA_RUNTIME_ATTENTION_CONSTANT_LANE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "runtime/attention/layer_weights.h"
#include "runtime/model_config.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {

// A lane must be so many times longer than the longest latent that any text
// can give: then the norm's factor varies by less than kLaneLength^-2 / 2,
// here 2^-17. Ours are at least four times as long when they are written,
// which leaves room to train what is beside them.
//
// The longest: y = g * x / rms(x), where g is the input norm's weight, is no
// longer than sqrt(hidden) once g is divided out, so that
// |W y + b| <= sqrt(hidden) |W diag(g)| + |b|, in Frobenius' norm.
inline constexpr double kLaneLength = 256;

// Where a layer has a constant lane, takes it out of its kv_lora_rank and says
// so. What cannot be read is no lane: loading will say what is wrong with it.
void DropConstantLanes(const WeightReader& reader, ModelConfig& config);

// What the norm multiplies the other elements of the latent by, [rank].
absl::StatusOr<std::vector<float>> LaneFactors(const LayerWeights& weights,
                                               const OutputBlock& kv_a,
                                               int rank);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_ATTENTION_CONSTANT_LANE_H_

// The config.json of a model whose attention stays what it is.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_EXACT_CONFIG_H_
#define MLA_RUNTIME_CONVERT_EXACT_CONFIG_H_

#include "absl/status/statusor.h"
#include "kernels/dtype.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// The narrowest type that holds every weight of the checkpoint as it is.
kernels::DType ExactType(const Checkpoint& checkpoint);

// The source's config, or for a GGUF file one of the same architecture,
// in fields that others read too unless its RoPE has frequencies of its own.
// `single_latent`: serve all heads' keys and values as one latent; others do
// not know the field, and need not.
absl::StatusOr<nlohmann::ordered_json> ExactConfig(const Checkpoint& checkpoint,
                                                   const ModelConfig& config,
                                                   kernels::DType type,
                                                   bool single_latent);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_EXACT_CONFIG_H_

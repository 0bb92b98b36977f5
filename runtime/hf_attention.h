// The attention part of a config.json: fields as in transformers, and as in
// the published code of systems that transformers does not have. A field that
// may differ by layer can be a list with a value for each.
// docs/SYSTEMS.md lists the values of `attention_type`.
// Errors: INVALID_ARGUMENT names the field, UNIMPLEMENTED the feature.
#ifndef MLA_RUNTIME_HF_ATTENTION_H_
#define MLA_RUNTIME_HF_ATTENTION_H_

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "runtime/model_config.h"

namespace mla::runtime {

// Fills attention and ropes. `mla`: what the family has if the config names no
// attention_type. Needs architecture, hidden_size, num_layers, max_position.
absl::Status ReadAttention(const nlohmann::json& config, bool mla,
                           ModelConfig& c);

// A positive integer up to kMaxModelSize.
absl::StatusOr<int> ReadSize(const nlohmann::json& config, const char* field);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_HF_ATTENTION_H_

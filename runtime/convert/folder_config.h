// The config.json of a converted model.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_FOLDER_CONFIG_H_
#define MLA_RUNTIME_CONVERT_FOLDER_CONFIG_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/convert/head_weights.h"
#include "runtime/convert/mla_weights.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// The source's own, or for a GGUF file one that says the same.
absl::StatusOr<nlohmann::ordered_json> SourceConfig(
    const Checkpoint& checkpoint, const ModelConfig& config);

// With MLA of those shapes, in fields that only this server reads. The
// model_type says so, lest others load the rest of it and run nonsense.
nlohmann::ordered_json ExtendedConfig(nlohmann::ordered_json source,
                                      const std::vector<MlaShape>& layers,
                                      kernels::DType type);

// With fewer or thinner heads, given the source's as ExactConfig has it and the
// elements that a token of it cached in a layer. Where
// all layers have as many and share them evenly, that is a config like the
// source's, which others load; else the model_type says that it is not.
nlohmann::ordered_json HeadsConfig(nlohmann::ordered_json source,
                                   int64_t source_row,
                                   const std::vector<HeadShape>& layers);

// Elements that a token cached in a layer of the model that ExtendedConfig's
// or HeadsConfig's was made from; 0 if `config` is no such. INVALID_ARGUMENT
// names the field.
absl::StatusOr<int64_t> SourceRowWidth(const nlohmann::json& config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_FOLDER_CONFIG_H_

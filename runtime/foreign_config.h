// Configs of published checkpoints that do not say what they are, said again as
// mlaserve reads them (runtime/hf_attention.h):
// - the MLRA authors' models (GQA, MLA, GLA-2, GTA, MFA, MLRA-2, MLRA-4), which
//   all call themselves "gpt2": told apart by their tensors;
// - MTLA's "llama-mtla";
// - X-EcoMLA's, whose MLA layers are described in two files beside config.json.
#ifndef MLA_RUNTIME_FOREIGN_CONFIG_H_
#define MLA_RUNTIME_FOREIGN_CONFIG_H_

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/checkpoint/checkpoint.h"

namespace mla::runtime {

// `config` itself if it needs no translation.
absl::StatusOr<nlohmann::json> TranslateConfig(const Checkpoint& checkpoint,
                                               nlohmann::json config);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_FOREIGN_CONFIG_H_

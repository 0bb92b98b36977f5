// Tested by tests/runtime/exact_conversion_test.cc.
#include "runtime/convert/exact_config.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/convert/folder_config.h"
#include "runtime/gguf_fields.h"
#include "runtime/status_macros.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;

// What SourceConfig does not say of a GGUF file: RoPE, biases, and the class
// that others load it with.
absl::Status CompleteGguf(const Checkpoint& checkpoint, const ModelConfig& c,
                          ordered_json& json) {
  const GgufFields fields(*checkpoint.gguf(), c.architecture);
  ASSIGN_OR_RETURN(const float theta, fields.Float("rope.freq_base", 10000));
  const Rope& rope = c.ropes[c.attention[0].rope];
  if (rope.amplitude != 1) {
    return absl::UnimplementedError(
        "the file scales its RoPE by YaRN, which is not written yet");
  }
  auto type = json["model_type"].get<std::string>();
  if (rope.inv_freq == DefaultRope(rope.dim, theta).inv_freq) {
    json["rope_theta"] = theta;
    std::string name = type;
    name[0] = absl::ascii_toupper(name[0]);
    json["architectures"] = {name + "ForCausalLM"};
  } else {
    json["model_type"] = absl::StrCat(kExtendedModelType, type);
    json["rope_inv_freq"] =
        ordered_json::array_t(c.num_layers, ordered_json(rope.inv_freq));
  }
  if (type == "llama") {
    json["attention_bias"] =
        WeightReader(checkpoint).Has("model.layers.0.self_attn.q_proj.bias");
  }
  return absl::OkStatus();
}

}  // namespace

kernels::DType ExactType(const Checkpoint& checkpoint) {
  const bool bf16 = std::all_of(
      checkpoint.tensors().begin(), checkpoint.tensors().end(),
      [](const auto& t) { return t.second.type == kernels::DType::kBF16; });
  return bf16 ? kernels::DType::kBF16 : kernels::DType::kF32;
}

absl::StatusOr<ordered_json> ExactConfig(const Checkpoint& checkpoint,
                                         const ModelConfig& config,
                                         kernels::DType type,
                                         bool single_latent) {
  ASSIGN_OR_RETURN(ordered_json json, SourceConfig(checkpoint, config));
  if (checkpoint.gguf() != nullptr) {
    RETURN_IF_ERROR(CompleteGguf(checkpoint, config, json));
  }
  json.erase("torch_dtype");
  json.erase("quantization_config");  // weights are written as plain numbers
  json["dtype"] = type == kernels::DType::kF32 ? "float32" : "bfloat16";
  if (single_latent) json["transmla_single_latent"] = true;
  return json;
}

}  // namespace mla::runtime

// Tested by tests/e2e/gguf_export_test.py.
#include "runtime/convert/gguf_export.h"

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/dequantize.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/gguf_writer.h"
#include "runtime/json.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/weight_reader.h"

namespace mla::runtime {
namespace {

using kernels::DType;

// A tensor of the file and what it is made of: one, or an expert's each.
using Parts = std::map<int, const TensorView*>;

absl::StatusOr<std::map<std::string, Parts>> Gather(const TensorMap& tensors) {
  std::map<std::string, Parts> gathered;
  for (const auto& [name, tensor] : tensors) {
    constexpr char kExperts[] = ".experts.";
    std::string stacked(name);
    int expert = 0;
    if (const size_t at = stacked.find(kExperts); at != stacked.npos) {
      const size_t number = at + sizeof(kExperts) - 1;
      const size_t end = stacked.find('.', number);
      if (end == stacked.npos ||
          !absl::SimpleAtoi(stacked.substr(number, end - number), &expert)) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor '", stacked, "' names no expert"));
      }
      stacked.replace(number, end - number, "%d");
    }
    gathered[GgufTensorName(stacked)][expert] = &tensor;
  }
  return gathered;
}

TensorSpec SpecOf(const std::string& name, const Parts& parts) {
  const TensorView& first = *parts.begin()->second;
  TensorSpec spec{name, first.type, first.shape};
  if (spec.shape.size() == 1) spec.type = DType::kF32;
  if (absl::StrContains(name, "_exps.")) {
    spec.shape.insert(spec.shape.begin(), parts.size());
  }
  return spec;
}

absl::Status Write(const std::string& name, const TensorView& tensor,
                   DType type, GgufWriter& writer) {
  if (tensor.type == type) return writer.Append(name, tensor.bytes);
  std::vector<float> wide(tensor.Elements());
  kernels::Dequantize(tensor.type, tensor.bytes.data(), wide.size(),
                      wide.data());
  return writer.Append(name, {reinterpret_cast<const std::byte*>(wide.data()),
                              wide.size() * sizeof(float)});
}

GgufPairs PairsOf(const ModelConfig& c, const std::string& config,
                  const GgufMetadata& source) {
  GgufPairs pairs;
  const std::string architecture =
      absl::StrCat(kExtendedModelType, c.architecture);
  const auto key = [&](const char* name) {
    return absl::StrCat(architecture, ".", name);
  };
  pairs.Add("general.architecture", architecture);
  if (const auto name = source.GetString("general.name"); name.ok()) {
    pairs.Add("general.name", *name);
  }
  pairs.Add(key("config"), config);
  pairs.Add(key("block_count"), static_cast<uint32_t>(c.num_layers));
  pairs.Add(key("context_length"), static_cast<uint32_t>(c.max_position));
  pairs.Add(key("embedding_length"), static_cast<uint32_t>(c.hidden_size));
  pairs.Add(key("feed_forward_length"),
            static_cast<uint32_t>(c.intermediate_size));
  pairs.Add(key("attention.layer_norm_rms_epsilon"), c.norm_eps);
  pairs.Add(key("attention.head_count"),
            static_cast<uint32_t>(c.attention[0].heads));
  std::vector<int> ranks, ropes;
  for (const AttentionConfig& a : c.attention) {
    ranks.push_back(a.kv_lora_rank);
    ropes.push_back(a.qk_rope_head_dim);
  }
  pairs.Add(key("attention.kv_lora_rank"), ranks);
  pairs.Add(key("rope.dimension_count"), ropes);
  for (const auto& [name, value] : source.values()) {
    if (absl::StartsWith(std::string(name), "tokenizer."))
      pairs.Add(name, value);
  }
  return pairs;
}

}  // namespace

absl::Status CheckGgufSource(const std::string& source) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(source));
  if (checkpoint->gguf() != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(source,
                   ": a GGUF file can be written of a GGUF file only, whose "
                   "tokenizer is spelt as such files have it"));
}

absl::Status WriteGguf(const std::string& folder, const std::string& source,
                       const std::string& path) {
  RETURN_IF_ERROR(CheckGgufSource(source));
  ASSIGN_OR_RETURN(const auto from, Checkpoint::Open(source));
  ASSIGN_OR_RETURN(const auto converted, Checkpoint::Open(folder));
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(*converted));
  ASSIGN_OR_RETURN(const std::string text, converted->ReadText("config.json"));
  ASSIGN_OR_RETURN(const auto gathered, Gather(converted->tensors()));
  std::vector<TensorSpec> specs;
  for (const auto& [name, parts] : gathered) {
    specs.push_back(SpecOf(name, parts));
  }
  ASSIGN_OR_RETURN(
      GgufWriter writer,
      GgufWriter::Create(path, PairsOf(config, text, *from->gguf()), specs));
  for (const TensorSpec& spec : specs) {
    for (const auto& [expert, tensor] : gathered.at(spec.name)) {
      RETURN_IF_ERROR(Write(spec.name, *tensor, spec.type, writer));
    }
  }
  return writer.Close();
}

}  // namespace mla::runtime

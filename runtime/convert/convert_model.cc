// Tested by tests/e2e/convert_test.py.
#include "runtime/convert/convert_model.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/safetensors_index.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/convert/converter.h"
#include "runtime/convert/folder_config.h"
#include "runtime/convert/sha256.h"
#include "runtime/cpu_count.h"
#include "runtime/json.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"
#include "runtime/tokenizer/tokenizer_files.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;

constexpr char kStateFile[] = "conversion.json";

// A weight that is copied as it is.
struct Copied {
  std::string name;
  int rows = 0;
  int cols = 0;     // 0: a vector of `rows`
  int expert = -1;  // the name's %d
  int experts = 0;
};

std::vector<Copied> CopiedOfLayer(const ModelConfig& c, int layer) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const int hidden = c.hidden_size;
  const int inner = c.intermediate_size;
  std::vector<Copied> weights = {
      {prefix + "input_layernorm.weight", hidden},
      {prefix + "post_attention_layernorm.weight", hidden}};
  if (!c.IsMoe(layer)) {
    weights.push_back({prefix + "mlp.gate_proj.weight", inner, hidden});
    weights.push_back({prefix + "mlp.up_proj.weight", inner, hidden});
    weights.push_back({prefix + "mlp.down_proj.weight", hidden, inner});
    return weights;
  }
  const int experts = c.moe->experts;
  weights.push_back({prefix + "block_sparse_moe.gate.weight", experts, hidden});
  const std::string name = prefix + "block_sparse_moe.experts.%d.";
  for (int e = 0; e < experts; ++e) {
    weights.push_back({name + "w1.weight", inner, hidden, e, experts});
    weights.push_back({name + "w2.weight", hidden, inner, e, experts});
    weights.push_back({name + "w3.weight", inner, hidden, e, experts});
  }
  return weights;
}

std::vector<Copied> CopiedOfModel(const ModelConfig& c) {
  std::vector<Copied> weights = {
      {"model.embed_tokens.weight", c.vocab_size, c.hidden_size},
      {"model.norm.weight", c.hidden_size}};
  if (!c.tied_embeddings) {
    weights.push_back({"lm_head.weight", c.vocab_size, c.hidden_size});
  }
  return weights;
}

std::string SavedName(const Copied& weight) {
  return absl::StrReplaceAll(weight.name,
                             {{"%d", absl::StrCat(weight.expert)}});
}

absl::Status Copy(const WeightReader& reader, const Copied& weight,
                  SafetensorsWriter& writer) {
  const std::string name = SavedName(weight);
  if (weight.cols == 0) {
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     reader.Vector(weight.name, weight.rows));
    return writer.Append(name, values);
  }
  absl::StatusOr<WeightMatrix> matrix =
      weight.expert < 0
          ? reader.Matrix(weight.name, weight.rows, weight.cols)
          : reader.Expert(weight.name, weight.expert, weight.experts,
                          weight.rows, weight.cols);
  RETURN_IF_ERROR(matrix.status());
  std::vector<float> row(weight.cols);
  for (int i = 0; i < weight.rows; ++i) {
    matrix->ReadRow(i, row.data());
    RETURN_IF_ERROR(writer.Append(name, row));
  }
  return absl::OkStatus();
}

std::string ShardName(int layer) {
  return absl::StrFormat("model-layer-%04d.safetensors", layer);
}
constexpr char kModelShard[] = "model-embeddings.safetensors";

// What makes a conversion what it is: a folder with another one is not resumed.
ordered_json Provenance(const ConvertOptions& options, const Windows& windows) {
  const std::filesystem::path in(options.in);
  std::string ids;
  for (const std::vector<int32_t>& window : windows) {
    for (const int32_t id : window) absl::StrAppend(&ids, id, " ");
    absl::StrAppend(&ids, "\n");
  }
  return {{"converter", kConverterVersion},
          {"source", in.has_filename() ? in.filename().string()
                                       : in.parent_path().filename().string()},
          {"method", options.spec.ToString()},
          {"dtype", kernels::Name(options.type)},
          {"calibration_windows", windows.size()},
          {"calibration_sha256", Sha256(ids)}};
}

ordered_json ToJson(const MlaShape& s, double energy_kept) {
  return {{"heads", s.heads},
          {"kv_lora_rank", s.kv_lora_rank},
          {"qk_nope_head_dim", s.qk_nope_head_dim},
          {"qk_rope_head_dim", s.qk_rope_head_dim},
          {"v_head_dim", s.v_head_dim},
          {"energy_kept", energy_kept},
          {"rope_inv_freq", s.inv_freq}};
}

MlaShape ShapeOf(const nlohmann::json& layer) {
  return {layer.at("heads"),
          layer.at("kv_lora_rank"),
          layer.at("qk_nope_head_dim"),
          layer.at("qk_rope_head_dim"),
          layer.at("v_head_dim"),
          layer.at("rope_inv_freq").get<std::vector<double>>()};
}

class Conversion {
 public:
  explicit Conversion(const ConvertOptions& options)
      : options_(options), out_(options.out) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(options_.in));
    ASSIGN_OR_RETURN(config_, ReadModelConfig(*checkpoint_));
    ASSIGN_OR_RETURN(const TextModel text, LoadTextModel(options_.in));
    if (text.tokenizer == nullptr) {
      return absl::FailedPreconditionError(
          "the model has no tokenizer to read calibration text with");
    }
    ASSIGN_OR_RETURN(const Windows windows,
                     ReadCalibration(options_.calibration, text));
    RETURN_IF_ERROR(OpenFolder(Provenance(options_, windows)));
    const int threads = options_.threads > 0 ? options_.threads : UsableCpus();
    ASSIGN_OR_RETURN(Converter converter,
                     Converter::Create(*checkpoint_, config_, windows,
                                       options_.spec, options_.type, threads));
    while (converter.next_layer() < config_.num_layers) {
      RETURN_IF_ERROR(Layer(converter));
    }
    return Finish();
  }

 private:
  absl::Status OpenFolder(ordered_json provenance) {
    std::error_code error;
    std::filesystem::create_directories(out_, error);
    if (error) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot create ", options_.out, ": ", error.message()));
    }
    state_ = std::move(provenance);
    state_["layers"] = ordered_json::array();
    const bool empty = std::filesystem::is_empty(out_, error);
    if (empty || error) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto file, MappedFile::Open(out_ / kStateFile));
    ASSIGN_OR_RETURN(
        const nlohmann::json found,
        ParseJson({reinterpret_cast<const char*>(file.bytes().data()),
                   file.bytes().size()}));
    for (const auto& [field, value] : state_.items()) {
      if (field == "layers") continue;
      if (found.contains(field) && found[field] == nlohmann::json(value)) {
        continue;
      }
      return absl::FailedPreconditionError(absl::StrCat(
          options_.out, " holds another conversion: its ", field, " is ",
          found.contains(field) ? found[field].dump() : "missing", ", not ",
          value.dump(), "; choose another folder or remove it"));
    }
    done_ = found["layers"];
    return absl::OkStatus();
  }

  // What an earlier run left of the layer, if it is whole.
  bool Resume(int layer, MlaShape& shape) const {
    if (!done_.is_array() || layer >= static_cast<int>(done_.size())) {
      return false;
    }
    try {
      shape = ShapeOf(done_[layer]);
    } catch (const nlohmann::json::exception&) {
      return false;
    }
    return std::filesystem::exists(out_ / ShardName(layer));
  }

  absl::Status Layer(Converter& converter) {
    const int layer = converter.next_layer();
    ConvertProgress progress{layer + 1, config_.num_layers, true, 0};
    MlaShape shape;
    if (Resume(layer, shape)) {
      ASSIGN_OR_RETURN(const auto shard,
                       Checkpoint::Open(out_ / ShardName(layer)));
      RETURN_IF_ERROR(converter.Skip(
          shape,
          WeightReader(*checkpoint_,
                       absl::StrCat("model.layers.", layer, ".self_attn."),
                       shard->tensors())));
      progress.energy_kept = done_[layer].value("energy_kept", 0.0);
      resumed_ = layer + 1;
    } else {
      if (resumed_ == layer) begun_ = absl::Now();
      ASSIGN_OR_RETURN(const ConvertedLayer converted, converter.Next());
      progress.resumed = false;
      progress.energy_kept = converted.energy_kept;
      shape = converted.weights.shape;
      RETURN_IF_ERROR(WriteLayer(layer, converted.weights));
      progress.seconds_left = absl::ToDoubleSeconds(absl::Now() - begun_) /
                              (layer + 1 - resumed_) *
                              (config_.num_layers - layer - 1);
    }
    shapes_.push_back(shape);
    state_["layers"].push_back(ToJson(shape, progress.energy_kept));
    RETURN_IF_ERROR(
        WriteFileAtomically(out_ / kStateFile, state_.dump(1) + "\n"));
    options_.progress(progress);
    return absl::OkStatus();
  }

  absl::Status WriteLayer(int layer, const MlaWeights& weights) {
    const ConvertedTensors converted(weights, layer, kernels::DType::kF32);
    const std::vector<Copied> copied = CopiedOfLayer(config_, layer);
    std::vector<TensorSpec> specs = SpecsOf(copied);
    for (const auto& [name, tensor] : converted.tensors()) {
      specs.push_back({name, options_.type, tensor.shape});
    }
    ASSIGN_OR_RETURN(SafetensorsWriter writer,
                     SafetensorsWriter::Create(out_ / ShardName(layer), specs));
    const WeightReader reader(*checkpoint_);
    for (const Copied& weight : copied) {
      RETURN_IF_ERROR(Copy(reader, weight, writer));
    }
    for (const auto& [name, tensor] : converted.tensors()) {
      const auto* values = reinterpret_cast<const float*>(tensor.bytes.data());
      RETURN_IF_ERROR(writer.Append(
          name, {values, static_cast<size_t>(tensor.Elements())}));
    }
    return writer.Close();
  }

  std::vector<TensorSpec> SpecsOf(const std::vector<Copied>& copied) const {
    std::vector<TensorSpec> specs;
    for (const Copied& weight : copied) {
      TensorSpec spec{SavedName(weight), options_.type, {weight.rows}};
      if (weight.cols > 0) spec.shape.push_back(weight.cols);
      specs.push_back(std::move(spec));
    }
    return specs;
  }

  // Everything but layers; the config last, so that a folder that has one is
  // whole.
  absl::Status Finish() {
    const std::vector<Copied> copied = CopiedOfModel(config_);
    ASSIGN_OR_RETURN(
        SafetensorsWriter writer,
        SafetensorsWriter::Create(out_ / kModelShard, SpecsOf(copied)));
    const WeightReader reader(*checkpoint_);
    for (const Copied& weight : copied) {
      RETURN_IF_ERROR(Copy(reader, weight, writer));
    }
    RETURN_IF_ERROR(writer.Close());
    RETURN_IF_ERROR(WriteIndex());
    RETURN_IF_ERROR(WriteTexts());
    ASSIGN_OR_RETURN(ordered_json config, SourceConfig(*checkpoint_, config_));
    config = ExtendedConfig(std::move(config), shapes_, options_.type);
    return WriteFileAtomically(out_ / "config.json", config.dump(1) + "\n");
  }

  absl::Status WriteIndex() const {
    std::vector<std::string> files = {kModelShard};
    for (int i = 0; i < config_.num_layers; ++i) files.push_back(ShardName(i));
    std::vector<SafetensorsShard> shards;
    for (const std::string& file : files) {
      ASSIGN_OR_RETURN(const auto shard, Checkpoint::Open(out_ / file));
      SafetensorsShard& listed = shards.emplace_back();
      listed.file_name = file;
      for (const auto& [name, tensor] : shard->tensors()) {
        listed.tensors.push_back({name, tensor.type, tensor.shape});
      }
    }
    return WriteSafetensorsIndex(out_ / "model.safetensors.index.json", shards);
  }

  absl::Status WriteTexts() const {
    if (checkpoint_->gguf() != nullptr) {
      ASSIGN_OR_RETURN(const TokenizerFiles files,
                       TokenizerFilesFromGguf(*checkpoint_->gguf()));
      RETURN_IF_ERROR(
          WriteFileAtomically(out_ / "tokenizer.json", files.tokenizer_json));
      RETURN_IF_ERROR(WriteFileAtomically(out_ / "tokenizer_config.json",
                                          files.tokenizer_config_json));
      return WriteFileAtomically(out_ / "generation_config.json",
                                 files.generation_config_json);
    }
    for (const char* file : {"tokenizer.json", "tokenizer_config.json",
                             "special_tokens_map.json", "chat_template.jinja",
                             "chat_template.json", "generation_config.json"}) {
      const absl::StatusOr<std::string> text = checkpoint_->ReadText(file);
      if (absl::IsNotFound(text.status())) continue;
      RETURN_IF_ERROR(text.status());
      RETURN_IF_ERROR(WriteFileAtomically(out_ / file, *text));
    }
    return absl::OkStatus();
  }

  const ConvertOptions& options_;
  const std::filesystem::path out_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ModelConfig config_;
  std::vector<MlaShape> shapes_;
  ordered_json state_;
  nlohmann::json done_;
  int resumed_ = 0;   // layers that were there already
  absl::Time begun_;  // when the first other one was
};

}  // namespace

absl::Status ConvertModel(const ConvertOptions& options) {
  return Conversion(options).Run();
}

}  // namespace mla::runtime

// Tested by tests/e2e/convert_test.py.
#include "runtime/convert/convert_model.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/safetensors_index.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/convert/conversion_budget.h"
#include "runtime/convert/converter.h"
#include "runtime/convert/copied_weights.h"
#include "runtime/convert/exact_config.h"
#include "runtime/convert/folder_config.h"
#include "runtime/convert/sha256.h"
#include "runtime/convert/stock_layout.h"
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

std::string ShardName(int layer) {
  return absl::StrFormat("model-layer-%04d.safetensors", layer);
}
constexpr char kModelShard[] = "model-embeddings.safetensors";

// What makes a conversion what it is: a folder with another one is not resumed.
ordered_json Provenance(const ConvertOptions& options, kernels::DType type,
                        const Windows& windows) {
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
          {"layout", options.spec.folder == FolderLayout::kDeepSeekV3
                         ? "deepseek_v3"
                         : "extended"},
          {"dtype", kernels::Name(type)},
          {"calibration_windows", windows.size()},
          {"calibration_sha256", Sha256(ids)}};
}

ordered_json ToJson(const MlaShape& s) {
  return {{"heads", s.heads},
          {"q_lora_rank", s.q_lora_rank},
          {"kv_lora_rank", s.kv_lora_rank},
          {"qk_nope_head_dim", s.qk_nope_head_dim},
          {"qk_rope_head_dim", s.qk_rope_head_dim},
          {"v_head_dim", s.v_head_dim},
          {"constant_lane", s.constant_lane},
          {"rope_inv_freq", s.inv_freq}};
}

ordered_json ToJson(const HeadShape& s) {
  return {{"heads", s.heads},       {"num_key_value_heads", s.kv_heads},
          {"head_dim", s.head_dim}, {"kv_head_of_query_head", s.kv_head_of},
          {"k_rank", s.k_rank},     {"v_rank", s.v_rank}};
}

ConvertedShape ShapeFrom(const nlohmann::json& layer) {
  if (layer.contains("num_key_value_heads")) {
    return HeadShape{layer.at("heads"),
                     layer.at("num_key_value_heads"),
                     layer.at("head_dim"),
                     layer.at("kv_head_of_query_head").get<std::vector<int>>(),
                     layer.at("k_rank"),
                     layer.at("v_rank")};
  }
  return MlaShape{layer.at("heads"),
                  layer.at("kv_lora_rank"),
                  layer.at("qk_nope_head_dim"),
                  layer.at("qk_rope_head_dim"),
                  layer.at("v_head_dim"),
                  layer.at("rope_inv_freq").get<std::vector<double>>(),
                  layer.at("q_lora_rank"),
                  layer.at("constant_lane")};
}

class Conversion {
 public:
  explicit Conversion(const ConvertOptions& options)
      : options_(options), out_(options.out), type_(options.type) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(options_.in));
    ASSIGN_OR_RETURN(config_, ReadModelConfig(*checkpoint_));
    if (stock()) {
      ASSIGN_OR_RETURN(const std::string caveat,
                       CheckStock(*checkpoint_, config_, options_.spec));
      if (!caveat.empty()) options_.warn(caveat);
    }
    if (options_.spec.method == ConversionMethod::kExact) return Exact();
    RETURN_IF_ERROR(WithinBudget(options_.spec, config_).status());
    ASSIGN_OR_RETURN(const TextModel text, LoadTextModel(options_.in));
    if (text.tokenizer == nullptr) {
      return absl::FailedPreconditionError(
          "the model has no tokenizer to read calibration text with");
    }
    ASSIGN_OR_RETURN(const Windows windows,
                     ReadCalibration(options_.calibration, text));
    RETURN_IF_ERROR(OpenFolder(Provenance(options_, type_, windows)));
    const int threads = options_.threads > 0 ? options_.threads : UsableCpus();
    ASSIGN_OR_RETURN(Converter converter,
                     Converter::Create(*checkpoint_, config_, windows,
                                       options_.spec, type_, threads));
    while (converter.next_layer() < config_.num_layers) {
      RETURN_IF_ERROR(Layer(converter));
    }
    return Finish();
  }

 private:
  bool stock() const {
    return options_.spec.folder == FolderLayout::kDeepSeekV3;
  }

  // Every layer as it is; nothing to calibrate, and nothing to resume.
  absl::Status Exact() {
    type_ = ExactType(*checkpoint_);
    const WeightReader reader(*checkpoint_);
    std::vector<std::vector<CopiedWeight>> layers;
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      ASSIGN_OR_RETURN(layers.emplace_back(),
                       CopiedOfAttention(reader, config_, layer));
      const std::vector<CopiedWeight> rest = CopiedOfLayer(config_, layer);
      layers.back().insert(layers.back().end(), rest.begin(), rest.end());
    }
    RETURN_IF_ERROR(OpenFolder(Provenance(options_, type_, {})));
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      RETURN_IF_ERROR(CopyAll(layers[layer], ShardName(layer)));
      options_.progress({layer + 1, config_.num_layers, false, 1});
    }
    RETURN_IF_ERROR(
        WriteFileAtomically(out_ / kStateFile, state_.dump(1) + "\n"));
    return Finish();
  }

  absl::Status CopyAll(const std::vector<CopiedWeight>& copied,
                       const std::string& file) {
    ASSIGN_OR_RETURN(
        SafetensorsWriter writer,
        SafetensorsWriter::Create(out_ / file, SpecsOf(copied, type_)));
    const WeightReader reader(*checkpoint_);
    for (const CopiedWeight& weight : copied) {
      RETURN_IF_ERROR(Copy(reader, weight, writer));
    }
    return writer.Close();
  }

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
  bool Resume(int layer, ConvertedShape& shape) const {
    if (!done_.is_array() || layer >= static_cast<int>(done_.size())) {
      return false;
    }
    try {
      shape = ShapeFrom(done_[layer]);
    } catch (const nlohmann::json::exception&) {
      return false;
    }
    return std::filesystem::exists(out_ / ShardName(layer));
  }

  absl::Status Layer(Converter& converter) {
    const int layer = converter.next_layer();
    ConvertProgress progress{layer + 1, config_.num_layers, true, 0};
    ConvertedShape shape;
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
      shape = ShapeOf(converted.weights);
      RETURN_IF_ERROR(WriteLayer(layer, converted.weights));
      progress.seconds_left = absl::ToDoubleSeconds(absl::Now() - begun_) /
                              (layer + 1 - resumed_) *
                              (config_.num_layers - layer - 1);
    }
    shapes_.push_back(shape);
    ordered_json& saved = state_["layers"].emplace_back(
        std::visit([](const auto& s) { return ToJson(s); }, shape));
    saved["energy_kept"] = progress.energy_kept;
    RETURN_IF_ERROR(
        WriteFileAtomically(out_ / kStateFile, state_.dump(1) + "\n"));
    options_.progress(progress);
    return absl::OkStatus();
  }

  absl::Status WriteLayer(int layer, const ConvertedWeights& weights) {
    const ConvertedTensors converted(weights, layer, kernels::DType::kF32);
    const std::vector<CopiedWeight> copied = CopiedOfLayer(config_, layer);
    std::vector<TensorSpec> specs = SpecsOf(copied, type_);
    for (const auto& [name, tensor] : converted.tensors()) {
      specs.push_back({name, type_, tensor.shape});
    }
    ASSIGN_OR_RETURN(SafetensorsWriter writer,
                     SafetensorsWriter::Create(out_ / ShardName(layer), specs));
    const WeightReader reader(*checkpoint_);
    for (const CopiedWeight& weight : copied) {
      RETURN_IF_ERROR(Copy(reader, weight, writer));
    }
    for (const auto& [name, tensor] : converted.tensors()) {
      const auto* values = reinterpret_cast<const float*>(tensor.bytes.data());
      RETURN_IF_ERROR(writer.Append(
          name, {values, static_cast<size_t>(tensor.Elements())}));
    }
    return writer.Close();
  }

  // Everything but layers; the config last, so that a folder that has one is
  // whole.
  absl::Status Finish() {
    std::vector<CopiedWeight> copied = CopiedOfModel(config_);
    if (stock() && config_.tied_embeddings) {
      // Not all that load DeepSeek models tie them.
      copied.push_back(copied[0]);
      copied.back().saved_name = "lm_head.weight";
    }
    RETURN_IF_ERROR(CopyAll(copied, kModelShard));
    RETURN_IF_ERROR(WriteIndex());
    RETURN_IF_ERROR(WriteTexts());
    ASSIGN_OR_RETURN(const ordered_json config, Config());
    return WriteFileAtomically(out_ / "config.json", config.dump(1) + "\n");
  }

  absl::StatusOr<ordered_json> Config() const {
    const ConversionSpec& spec = options_.spec;
    if (spec.method == ConversionMethod::kExact) {
      return ExactConfig(*checkpoint_, config_, type_, spec.single_latent);
    }
    if (KeepsHeads(spec.method)) {
      ASSIGN_OR_RETURN(ordered_json source,
                       ExactConfig(*checkpoint_, config_, type_, false));
      return HeadsConfig(std::move(source),
                         config_.attention[0].Layout().row_width,
                         Shapes<HeadShape>());
    }
    const std::vector<MlaShape> shapes = Shapes<MlaShape>();
    if (stock()) return StockConfig(*checkpoint_, config_, shapes, type_);
    ASSIGN_OR_RETURN(ordered_json source, SourceConfig(*checkpoint_, config_));
    return ExtendedConfig(std::move(source), shapes, type_);
  }

  template <typename Shape>
  std::vector<Shape> Shapes() const {
    std::vector<Shape> shapes;
    for (const ConvertedShape& shape : shapes_) {
      shapes.push_back(std::get<Shape>(shape));
    }
    return shapes;
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
      if (!files.warning.empty()) options_.warn(files.warning);
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
  kernels::DType type_;  // of all weights
  std::unique_ptr<Checkpoint> checkpoint_;
  ModelConfig config_;
  std::vector<ConvertedShape> shapes_;
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

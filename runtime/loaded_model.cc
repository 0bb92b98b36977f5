// Tested by tests/runtime/loaded_model_test.cc.
#include "runtime/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/attention/constant_lane.h"
#include "runtime/foreign_config.h"
#include "runtime/json.h"
#include "runtime/json_fields.h"
#include "runtime/split_latent.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::StatusOr<TextModel> LoadText(const Checkpoint& checkpoint,
                                   const ModelConfig& config) {
  ASSIGN_OR_RETURN(TextModel text,
                   checkpoint.gguf() != nullptr
                       ? TextModelFromGguf(*checkpoint.gguf())
                       : TextModelFromFolder([&](const std::string& file) {
                           return checkpoint.ReadText(file);
                         }));
  if (text.tokenizer != nullptr &&
      text.tokenizer->vocab_size() > config.vocab_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tokenizer has ", text.tokenizer->vocab_size(),
                     " tokens, the model only ", config.vocab_size));
  }
  return text;
}

absl::Status LoadGenerationConfig(const Checkpoint& checkpoint,
                                  LoadedModel& loaded) {
  const absl::StatusOr<std::string> text =
      checkpoint.ReadText("generation_config.json");
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const json config, ParseJson(*text));
  SamplingParams& s = loaded.default_sampling;
  ASSIGN_OR_RETURN(const double temperature,
                   ReadNumber(config, "temperature", s.temperature));
  ASSIGN_OR_RETURN(s.top_k, ReadInt(config, "top_k", s.top_k));
  ASSIGN_OR_RETURN(const double top_p, ReadNumber(config, "top_p", s.top_p));
  ASSIGN_OR_RETURN(const double min_p, ReadNumber(config, "min_p", s.min_p));
  ASSIGN_OR_RETURN(
      const double repetition,
      ReadNumber(config, "repetition_penalty", s.repetition_penalty));
  if (temperature < 0 || s.top_k < 0 || !(top_p > 0 && top_p <= 1) ||
      !(min_p >= 0 && min_p <= 1) || !(repetition > 0)) {
    return absl::InvalidArgumentError(
        "generation_config.json: a sampling default is out of range");
  }
  s.temperature = static_cast<float>(temperature);
  s.top_p = static_cast<float>(top_p);
  s.min_p = static_cast<float>(min_p);
  s.repetition_penalty = static_cast<float>(repetition);
  ASSIGN_OR_RETURN(const std::vector<int> eos,
                   ReadInts(config, "eos_token_id"));
  for (const int id : eos) {
    if (id < 0 || id >= loaded.config.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "generation_config.json: eos_token_id ", id, " is no token"));
    }
    loaded.eos_token_ids.push_back(id);
  }
  return absl::OkStatus();
}

// All that say "the end": the config's, the generation config's and the
// tokenizer's, which often differ for chat models.
void MergeEosIds(LoadedModel& loaded) {
  std::vector<int32_t>& ids = loaded.eos_token_ids;
  const std::vector<int32_t>& config = loaded.config.eos_token_ids;
  ids.insert(ids.end(), config.begin(), config.end());
  if (loaded.tokenizer != nullptr) {
    const std::vector<int32_t>& eos = loaded.tokenizer->eos_ids();
    ids.insert(ids.end(), eos.begin(), eos.end());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace

absl::StatusOr<json> ReadConfigJson(const Checkpoint& checkpoint) {
  if (checkpoint.gguf() == nullptr) {
    ASSIGN_OR_RETURN(const std::string text,
                     checkpoint.ReadText("config.json"));
    return ParseJson(text);
  }
  ASSIGN_OR_RETURN(const std::string_view architecture,
                   checkpoint.gguf()->GetString("general.architecture"));
  if (architecture.substr(0, sizeof(kExtendedModelType) - 1) !=
      kExtendedModelType) {
    return json();
  }
  // Written by gguf_export.cc: the whole config is one of its values.
  ASSIGN_OR_RETURN(const std::string_view text,
                   checkpoint.gguf()->GetString(
                       absl::StrCat(std::string(architecture), ".config")));
  return ParseJson(text);
}

absl::StatusOr<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint) {
  const WeightReader reader(checkpoint);
  ASSIGN_OR_RETURN(json config, ReadConfigJson(checkpoint));
  if (!config.is_null()) {
    ASSIGN_OR_RETURN(config, TranslateConfig(checkpoint, std::move(config)));
    ASSIGN_OR_RETURN(ModelConfig c, ModelConfigFromHuggingFace(config));
    DropConstantLanes(reader, c);
    return c;
  }
  std::vector<float> divisors;
  if (const TensorView* tensor = checkpoint.Find("rope_freqs.weight")) {
    if (tensor->Elements() > 65536) {
      return absl::InvalidArgumentError(
          "tensor 'rope_freqs.weight' is too large");
    }
    ASSIGN_OR_RETURN(divisors,
                     reader.Vector("rope_freqs.weight",
                                   static_cast<int>(tensor->Elements())));
  }
  return ModelConfigFromGguf(*checkpoint.gguf(), divisors,
                             !reader.Has("lm_head.weight"));
}

std::string ModelName(const std::string& path) {
  std::filesystem::path p(path);
  if (!p.has_filename()) p = p.parent_path();  // "folder/"
  return p.extension() == ".gguf" ? p.stem() : p.filename();
}

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Load(
    const std::string& path, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                   Checkpoint::Open(path));
  auto loaded = std::make_unique<LoadedModel>();
  loaded->name = ModelName(path);
  ASSIGN_OR_RETURN(loaded->config, ReadModelConfig(*checkpoint));
  RETURN_IF_ERROR(SplitLatent(options.latent_slices, loaded->config));
  ASSIGN_OR_RETURN(TextModel text, LoadText(*checkpoint, loaded->config));
  loaded->tokenizer = std::move(text.tokenizer);
  loaded->chat_template = std::move(text.chat_template);
  RETURN_IF_ERROR(LoadGenerationConfig(*checkpoint, *loaded));
  MergeEosIds(*loaded);
  ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Backend>> backends,
                   NewBackends(options.backend));
  RETURN_IF_ERROR(backends[0]->CheckWeights(options.model.weights_dtype));
  ASSIGN_OR_RETURN(loaded->model,
                   ParallelModel::Load(
                       loaded->config, WeightReader(*checkpoint),
                       std::move(backends), options.model, options.progress));
  return loaded;
}

}  // namespace mla::runtime

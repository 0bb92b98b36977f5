// LoadedModel is a checkpoint made ready to run: its checked config, packed
// weights, tokenizer, chat template and published generation defaults.
// Threads: immutable after Load; any. `model` itself: the engine's thread.
// Errors:  Load explains what is missing or inconsistent, file and tensor
// named.
#ifndef MLA_RUNTIME_LOADED_MODEL_H_
#define MLA_RUNTIME_LOADED_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/chat/chat_template.h"
#include "runtime/model_config.h"
#include "runtime/new_backend.h"
#include "runtime/parallel_model.h"
#include "runtime/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

struct LoadOptions {
  BackendOptions backend;
  ModelOptions model;
  int latent_slices = 1;  // more: see SplitLatent
  Model::Progress progress = [](double) {};
};

class LoadedModel {
 public:
  // `path`: a Hugging Face folder or a .gguf file.
  static absl::StatusOr<std::unique_ptr<LoadedModel>> Load(
      const std::string& path, const LoadOptions& options);

  std::string name;  // ModelName(path)
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;  // null: token ids only
  // As in TextModel: NOT_FOUND, or why it cannot be used.
  absl::StatusOr<std::unique_ptr<const ChatTemplate>> chat_template;
  SamplingParams default_sampling;  // as generation_config.json asks
  std::vector<int32_t> eos_token_ids;
  std::unique_ptr<ParallelModel> model;
};

// What a model is called: its path's last component, without .gguf.
std::string ModelName(const std::string& path);

// The config.json of a folder, or of a GGUF file that this server wrote; null
// for other GGUF files.
absl::StatusOr<nlohmann::json> ReadConfigJson(const Checkpoint& checkpoint);

// The config of an opened checkpoint, without its weights.
absl::StatusOr<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_LOADED_MODEL_H_

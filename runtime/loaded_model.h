// LoadedModel is a checkpoint made ready to run: its checked config, packed
// weights, tokenizer, chat template and published generation defaults.
// Threads: immutable after Load; any.
// Errors:  Load explains what is missing or inconsistent, file and tensor
// named.
#ifndef MLA_RUNTIME_LOADED_MODEL_H_
#define MLA_RUNTIME_LOADED_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/dtype.h"
#include "runtime/chat/chat_template.h"
#include "runtime/model_config.h"
#include "runtime/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

class Model;

struct LoadOptions {
  kernels::DType weights_dtype = kernels::DType::kBF16;  // or kF32
  kernels::DType kv_dtype = kernels::DType::kBF16;       // or kF32
  int threads = 0;                                       // 0: all cores
};

class LoadedModel {
 public:
  // `path`: a Hugging Face folder or a .gguf file.
  static absl::StatusOr<std::unique_ptr<LoadedModel>> Load(
      const std::string& path, const LoadOptions& options);
  ~LoadedModel();

  std::string name;  // last component of the path, without .gguf
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;         // null: token ids only
  std::unique_ptr<ChatTemplate> chat_template;  // null: none came with it
  SamplingParams default_sampling;              // generation_config.json's
  std::vector<int32_t> eos_token_ids;
  std::unique_ptr<Model> model;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_LOADED_MODEL_H_

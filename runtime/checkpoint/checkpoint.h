// Checkpoint is a model on disk, whatever its format: its tensors by name and
// the texts that lie beside them.
// Owns:    the mappings that all its views point into.
// Threads: immutable after Open; any.
// Errors:  those of the formats, prefixed with the file's name.
#ifndef MLA_RUNTIME_CHECKPOINT_CHECKPOINT_H_
#define MLA_RUNTIME_CHECKPOINT_CHECKPOINT_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/tensor.h"

namespace mla::runtime {

enum class CheckpointFormat { kHuggingFace, kSafetensors, kGguf };

class Checkpoint {
 public:
  // `path` is one of
  // - a Hugging Face folder: model.safetensors, or the shards that
  //   model.safetensors.index.json names, each tensor in its named shard;
  // - a GGUF file; the first of a split one brings in the others beside it;
  // - a single safetensors file.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(
      const std::string& path);

  CheckpointFormat format() const { return format_; }

  // The tensor, or null if there is none of that name.
  const TensorView* Find(std::string_view name) const;
  // NOT_FOUND, or UNIMPLEMENTED if it is there with an unsupported type.
  absl::StatusOr<const TensorView*> Get(std::string_view name) const;
  const TensorMap& tensors() const { return tensors_; }

  // Metadata of a GGUF checkpoint (the first file's if split), else null.
  const GgufMetadata* gguf() const;

  // A whole text file of the folder, such as "config.json". NOT_FOUND if it is
  // not there, always so outside a Hugging Face folder.
  absl::StatusOr<std::string> ReadText(const std::string& file_name) const;

 private:
  Checkpoint() = default;

  absl::Status OpenFolder();
  absl::Status OpenShards(const std::string& index);
  absl::Status OpenFile(const std::string& path);
  absl::Status AddSafetensors(const std::string& path, MappedFile file,
                              const std::vector<std::string>& expected);
  absl::Status AddGguf(const std::string& path, MappedFile file);
  absl::Status AddGgufParts(const std::string& first_path);
  absl::Status AddTensors(const std::string& path, TensorMap tensors);

  CheckpointFormat format_ = CheckpointFormat::kSafetensors;
  std::string folder_;  // kHuggingFace only
  std::vector<MappedFile> files_;
  TensorMap tensors_;
  std::map<std::string, std::string, std::less<>> unsupported_;  // to its type
  std::optional<GgufMetadata> gguf_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_CHECKPOINT_H_

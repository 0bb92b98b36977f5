// WriteSafetensorsIndex writes model.safetensors.index.json, which says in
// which of several files each tensor of a Hugging Face folder lies. Threads:
// any. Errors:  those of AtomicFile; INVALID_ARGUMENT, naming the culprit, for
// a
//          tensor that two files hold or a shard that is no plain file name.
#ifndef MLA_RUNTIME_CHECKPOINT_SAFETENSORS_INDEX_H_
#define MLA_RUNTIME_CHECKPOINT_SAFETENSORS_INDEX_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/safetensors_writer.h"

namespace mla::runtime {

struct SafetensorsShard {
  std::string file_name;  // "model-00001-of-00002.safetensors"
  std::vector<TensorSpec> tensors;
};

absl::Status WriteSafetensorsIndex(const std::string& path,
                                   absl::Span<const SafetensorsShard> shards);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_SAFETENSORS_INDEX_H_

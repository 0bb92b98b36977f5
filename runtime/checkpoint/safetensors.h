// Reads one safetensors file:
//
//   u64  header bytes, little-endian
//   ...  JSON header (safetensors_header.h), padded with spaces
//   ...  data, covered by the tensors without gap or overlap
//
// Source:  github.com/huggingface/safetensors, README "Format".
// Threads: any.
// Errors:  INVALID_ARGUMENT that names the tensor, field and sizes.
#ifndef MLA_RUNTIME_CHECKPOINT_SAFETENSORS_H_
#define MLA_RUNTIME_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/tensor.h"

namespace mla::runtime {

struct SafetensorsFile {
  TensorMap tensors;
  // Tensors of a type that no DType stands for, and that type's name ("BOOL").
  // A checkpoint may hold such buffers without any use for them.
  std::map<std::string, std::string, std::less<>> unsupported;
};

// The result's views point into `file`, which must outlive them.
absl::StatusOr<SafetensorsFile> ParseSafetensors(
    absl::Span<const std::byte> file);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_SAFETENSORS_H_

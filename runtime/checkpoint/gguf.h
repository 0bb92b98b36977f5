// Reads one GGUF file, version 2 or 3, little-endian:
//
//   "GGUF", u32 version, u64 tensor count, u64 metadata count
//   metadata     key-value pairs (gguf_metadata.h)
//   tensor infos name, u32 n, u64 sizes[n] innermost first, u32 type,
//                u64 offset into the data section
//   data         at the next multiple of general.alignment (32 if not given),
//                as is each tensor in it
//
// Source:  github.com/ggml-org/ggml, docs/gguf.md.
// Threads: any.
// Errors:  OUT_OF_RANGE if the file is cut short, UNIMPLEMENTED for a version
//          or tensor type not known here, else INVALID_ARGUMENT; all name the
//          place. Every count is held against the bytes that are left before
//          anything is allocated for it.
#ifndef MLA_RUNTIME_CHECKPOINT_GGUF_H_
#define MLA_RUNTIME_CHECKPOINT_GGUF_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/checkpoint/tensor.h"

namespace mla::runtime {

struct GgufFile {
  GgufMetadata metadata;
  TensorMap tensors;  // shapes reversed: outermost first
};

// The result's views point into `file`, which must outlive them.
absl::StatusOr<GgufFile> ParseGguf(absl::Span<const std::byte> file);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_GGUF_H_

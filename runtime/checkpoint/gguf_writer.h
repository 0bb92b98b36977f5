// GgufWriter writes one GGUF file, version 3 (gguf.h), whose tensors' bytes are
// at hand as they are to lie there.
// Owns:    the file, which gets its name only by Close (atomic_file.h).
// Threads: one at a time.
// Errors:  those of AtomicFile; UNIMPLEMENTED for a tensor's type,
//          FAILED_PRECONDITION if one lacks bytes; all name the tensor.
// Source:  github.com/ggml-org/ggml, docs/gguf.md.
#ifndef MLA_RUNTIME_CHECKPOINT_GGUF_WRITER_H_
#define MLA_RUNTIME_CHECKPOINT_GGUF_WRITER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/gguf_metadata.h"
#include "runtime/checkpoint/safetensors_writer.h"

namespace mla::runtime {

// The key-value section, in the order of the calls; a key comes once.
class GgufPairs {
 public:
  void Add(std::string_view key, std::string_view text);
  void Add(std::string_view key, uint32_t number);
  void Add(std::string_view key, float number);
  void Add(std::string_view key, const std::vector<int>& numbers);
  void Add(std::string_view key, const GgufValue& value);  // another file's

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void Begin(std::string_view key, GgufType type);

  uint64_t count_ = 0;
  std::string bytes_;
};

class GgufWriter {
 public:
  // Types: kF32 and kBF16.
  static absl::StatusOr<GgufWriter> Create(
      const std::string& path, const GgufPairs& metadata,
      const std::vector<TensorSpec>& tensors);

  // The tensor's next bytes.
  absl::Status Append(const std::string& tensor,
                      absl::Span<const std::byte> bytes);
  absl::Status Close();

 private:
  struct Slot {
    uint64_t begin;  // in the file
    uint64_t size;
    uint64_t written = 0;
  };

  GgufWriter(AtomicFile file, std::map<std::string, Slot> slots);

  AtomicFile file_;
  std::map<std::string, Slot> slots_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_GGUF_WRITER_H_

// MappedFile is a whole file mapped read-only into memory.
// Owns:    the mapping; moving keeps its address, so views into it stay valid.
// Threads: immutable after Open; any.
// Errors:  that of open(2) or mmap(2); INVALID_ARGUMENT if not a regular file.
//          A file that others shorten while it is mapped raises SIGBUS on the
//          next touch: replace model files by rename, never in place.
#ifndef MLA_RUNTIME_CHECKPOINT_MAPPED_FILE_H_
#define MLA_RUNTIME_CHECKPOINT_MAPPED_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace mla::runtime {

class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  absl::Span<const std::byte> bytes_;  // empty: nothing to unmap
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_MAPPED_FILE_H_

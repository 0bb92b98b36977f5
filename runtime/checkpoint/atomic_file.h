// AtomicFile is a file being written that appears under its name only when it
// is whole. Until then it is PATH.partial beside it.
// Owns:    the open file; what was not committed is removed with it.
// Threads: one at a time.
// Errors:  those of open(2), pwrite(2), close(2) and rename(2), naming the
// file:
//          RESOURCE_EXHAUSTED for a full disk. No fsync: a crash of the machine
//          may lose what was written last.
#ifndef MLA_RUNTIME_CHECKPOINT_ATOMIC_FILE_H_
#define MLA_RUNTIME_CHECKPOINT_ATOMIC_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace mla::runtime {

class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  // Bytes may come in any order; those never written are zero.
  absl::Status WriteAt(uint64_t offset, absl::Span<const std::byte> bytes);

  // Gives the file its name, in place of any that has it. Nothing can be
  // written any more, whatever the result.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, int fd);

  std::string path_;
  std::string partial_path_;
  int fd_;  // -1: committed or moved from
};

// The whole of a small file.
absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view text);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_ATOMIC_FILE_H_

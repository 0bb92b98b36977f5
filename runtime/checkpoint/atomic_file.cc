#include "runtime/checkpoint/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path) {
  const std::string partial_path = absl::StrCat(path, ".partial");
  const int fd = open(partial_path.c_str(),
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("create ", partial_path));
  }
  return AtomicFile(path, fd);
}

AtomicFile::AtomicFile(std::string path, int fd)
    : path_(std::move(path)),
      partial_path_(absl::StrCat(path_, ".partial")),
      fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_path_(std::move(other.partial_path_)),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(partial_path_, other.partial_path_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(partial_path_.c_str());
}

absl::Status AtomicFile::WriteAt(uint64_t offset,
                                 absl::Span<const std::byte> bytes) {
  if (fd_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, " is already committed"));
  }
  while (!bytes.empty()) {
    const ssize_t written =
        pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("write ", partial_path_));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (fd_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, " is already committed"));
  }
  absl::Status status;
  // Some file systems tell only here that the disk was full.
  if (close(std::exchange(fd_, -1)) != 0) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("close ", partial_path_));
  } else if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
    status = absl::ErrnoToStatus(
        errno, absl::StrCat("rename ", partial_path_, " to ", path_));
  }
  if (!status.ok()) unlink(partial_path_.c_str());
  return status;
}

absl::Status WriteFileAtomically(const std::string& path,
                                 std::string_view text) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  RETURN_IF_ERROR(file.WriteAt(
      0, {reinterpret_cast<const std::byte*>(text.data()), text.size()}));
  return file.Commit();
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_writer_test.cc.

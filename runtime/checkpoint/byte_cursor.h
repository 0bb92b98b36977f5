// ByteCursor walks a byte range from front to back and never past its end.
// Threads: one at a time.
// Errors:  OUT_OF_RANGE that gives the position and what was to be read there.
#ifndef MLA_RUNTIME_CHECKPOINT_BYTE_CURSOR_H_
#define MLA_RUNTIME_CHECKPOINT_BYTE_CURSOR_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace mla::runtime {

static_assert(std::endian::native == std::endian::little,
              "model files are little-endian and read as they lie");

// The number at the front of `bytes`, which must hold it.
template <typename T>
T LoadNumber(absl::Span<const std::byte> bytes) {
  static_assert(std::is_arithmetic_v<T>);
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

inline std::string_view AsText(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteCursor {
 public:
  explicit ByteCursor(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  // What was taken since the cursor stood at `start`.
  absl::Span<const std::byte> Since(uint64_t start) const {
    return bytes_.subspan(start, position_ - start);
  }

  // `what` names the thing for the message: "tensor count".
  absl::StatusOr<absl::Span<const std::byte>> Take(uint64_t count,
                                                   const char* what) {
    if (count > remaining()) {
      return absl::OutOfRangeError(
          absl::StrCat(what, " needs ", count, " bytes at byte ", position_,
                       ", but the file ends after ", remaining(), " more"));
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  template <typename T>
  absl::StatusOr<T> TakeNumber(const char* what) {
    const auto bytes = Take(sizeof(T), what);
    if (!bytes.ok()) return bytes.status();
    return LoadNumber<T>(*bytes);
  }

 private:
  absl::Span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_BYTE_CURSOR_H_

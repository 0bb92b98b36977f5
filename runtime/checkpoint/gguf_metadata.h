// GgufMetadata holds the key-value section of a GGUF file. Values stay where
// they lie in the mapping; the getters decode them.
// Threads: immutable after Parse; any.
// Errors:  getters give NOT_FOUND for a missing key, INVALID_ARGUMENT for a
//          value of another type or out of range; both name the key.
// Source:  github.com/ggml-org/ggml, docs/gguf.md.
#ifndef MLA_RUNTIME_CHECKPOINT_GGUF_METADATA_H_
#define MLA_RUNTIME_CHECKPOINT_GGUF_METADATA_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/byte_cursor.h"

namespace mla::runtime {

// The numbers that stand for the types in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

const char* GgufTypeName(GgufType type);  // "u32", "string", ...

struct GgufValue {
  GgufType type;
  GgufType element_type;  // arrays only, as is `count`
  uint64_t count;
  // Numbers: as they lie. Strings: their characters. Arrays: their elements
  // one after the other, strings and arrays among them with their lengths.
  absl::Span<const std::byte> bytes;
};

class GgufMetadata {
 public:
  // Reads `count` pairs at the cursor. Views point into the cursor's bytes.
  static absl::StatusOr<GgufMetadata> Parse(ByteCursor& cursor, uint64_t count);

  bool Has(std::string_view key) const { return values_.contains(key); }

  // Any integer type whose value fits.
  absl::StatusOr<uint32_t> GetU32(std::string_view key) const;
  absl::StatusOr<uint64_t> GetU64(std::string_view key) const;
  absl::StatusOr<float> GetF32(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  // Bytes as they are in the file, meant to be UTF-8.
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;

  absl::StatusOr<std::vector<std::string_view>> GetStringArray(
      std::string_view key) const;
  absl::StatusOr<std::vector<float>> GetF32Array(std::string_view key) const;
  // Any integer element type; every element must fit.
  absl::StatusOr<std::vector<int32_t>> GetI32Array(std::string_view key) const;

  const std::map<std::string_view, GgufValue>& values() const {
    return values_;
  }

 private:
  absl::StatusOr<const GgufValue*> Find(std::string_view key) const;

  std::map<std::string_view, GgufValue> values_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_GGUF_METADATA_H_

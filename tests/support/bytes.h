// Byte strings for tests of binary formats.
#ifndef MLA_TESTS_SUPPORT_BYTES_H_
#define MLA_TESTS_SUPPORT_BYTES_H_

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace mla::testing {

// `value` as it lies in a little-endian file.
template <typename T>
std::string Encode(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// A copy in an allocation of exactly its size, so that a sanitizer sees every
// read past the end.
inline std::vector<std::byte> ToBytes(const std::string& text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

// Reads every byte, for a sanitizer to judge.
inline unsigned Touch(absl::Span<const std::byte> bytes) {
  volatile unsigned sum = 0;
  for (std::byte byte : bytes) sum = sum + std::to_integer<unsigned>(byte);
  return sum;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_BYTES_H_

// Whatever bytes a GGUF file is made of, the reader returns, and what it
// returns lies within them.
#include <cstddef>
#include <cstdint>

#include "runtime/checkpoint/gguf.h"
#include "tests/support/bytes.h"

using mla::runtime::GgufMetadata;

namespace {

void ReadEveryWay(const GgufMetadata& metadata, std::string_view key) {
  (void)metadata.GetU32(key);
  (void)metadata.GetU64(key);
  (void)metadata.GetF32(key);
  (void)metadata.GetBool(key);
  (void)metadata.GetString(key);
  (void)metadata.GetStringArray(key);
  (void)metadata.GetF32Array(key);
  (void)metadata.GetI32Array(key);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file =
      mla::runtime::ParseGguf({reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  for (const auto& [key, value] : file->metadata.values()) {
    mla::testing::Touch(value.bytes);
    ReadEveryWay(file->metadata, key);
  }
  for (const auto& [name, tensor] : file->tensors) {
    mla::testing::Touch(tensor.bytes);
  }
  return 0;
}

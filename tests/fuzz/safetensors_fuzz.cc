// Whatever bytes a safetensors file is made of, the reader returns, and what it
// returns lies within them.
#include <cstddef>
#include <cstdint>

#include "runtime/checkpoint/safetensors.h"
#include "tests/support/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = mla::runtime::ParseSafetensors(
      {reinterpret_cast<const std::byte*>(data), size});
  if (!file.ok()) return 0;
  for (const auto& [name, tensor] : file->tensors) {
    mla::testing::Touch(tensor.bytes);
  }
  return 0;
}

// Tested by tests/runtime/vocabulary_test.cc.
#include "runtime/tokenizer/byte_level.h"

#include <array>

#include "runtime/utf8.h"

namespace mla::runtime {
namespace {

constexpr char32_t kAlphabetEnd = 0x144;  // one past the last character used

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, kAlphabetEnd> bytes;
};

bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         byte >= 0xAE;
}

const Alphabet& GetAlphabet() {
  static const Alphabet* const alphabet = [] {
    auto* result = new Alphabet;
    result->bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t c = StandsForItself(byte) ? byte : next++;
      AppendUtf8(c, &result->characters[byte]);
      result->bytes[c] = static_cast<int16_t>(byte);
    }
    return result;
  }();
  return *alphabet;
}

}  // namespace

std::string_view ByteLevelCharacter(uint8_t byte) {
  return GetAlphabet().characters[byte];
}

std::optional<std::string> ByteLevelToBytes(std::string_view token) {
  const Alphabet& alphabet = GetAlphabet();
  std::string bytes;
  for (size_t pos = 0; pos < token.size();) {
    const char32_t c = NextCharacter(token, &pos);
    if (c >= kAlphabetEnd || alphabet.bytes[c] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet.bytes[c]));
  }
  return bytes;
}

}  // namespace mla::runtime

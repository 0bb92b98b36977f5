// Tested by tests/runtime/detokenizer_test.cc.
#include "runtime/tokenizer/decoder.h"

#include <charconv>

#include "absl/strings/str_replace.h"
#include "runtime/tokenizer/byte_level.h"

namespace mla::runtime {

std::optional<uint8_t> ParseByteToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') {
    return std::nullopt;
  }
  const char* digits_end = token.data() + 5;
  uint8_t value = 0;
  const auto [end, error] =
      std::from_chars(token.data() + 3, digits_end, value, 16);
  if (error != std::errc() || end != digits_end) return std::nullopt;
  return value;
}

Decoder::Decoder(DecoderRules rules, const Vocabulary& vocabulary)
    : rules_(std::move(rules)) {
  tokens_.reserve(vocabulary.size());
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    tokens_.push_back(Decode(vocabulary.Text(id)));
  }
}

const Decoder::Token& Decoder::Get(int32_t id) const {
  const bool inside = id >= 0 && static_cast<size_t>(id) < tokens_.size();
  return inside ? tokens_[id] : none_;
}

Decoder::Token Decoder::Decode(std::string_view text) const {
  if (rules_.byte_level) {
    // A token outside the alphabet, such as <｜User｜>, is text as it stands.
    return {ByteLevelToBytes(text).value_or(std::string(text)), false};
  }
  if (rules_.byte_fallback) {
    if (const auto byte = ParseByteToken(text)) {
      return {std::string(1, static_cast<char>(*byte)), true};
    }
  }
  std::string bytes(text);
  for (const auto& [from, to] : rules_.replacements) {
    bytes = absl::StrReplaceAll(bytes, {{from, to}});
  }
  return {std::move(bytes), false};
}

}  // namespace mla::runtime

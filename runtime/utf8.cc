// Tested by tests/runtime/utf8_test.cc.
#include "runtime/utf8.h"

#include <cstdint>

namespace mla::runtime {
namespace {

struct LeadByte {
  size_t length;       // of the whole character; 0 if no character starts so
  uint8_t second_min;  // the second byte's range; later ones are 80..BF
  uint8_t second_max;
};

LeadByte ClassifyLead(uint8_t b) {
  if (b < 0x80) return {1, 0, 0};
  if (b < 0xC2) return {0, 0, 0};
  if (b < 0xE0) return {2, 0x80, 0xBF};
  if (b == 0xE0) return {3, 0xA0, 0xBF};
  if (b == 0xED) return {3, 0x80, 0x9F};
  if (b < 0xF0) return {3, 0x80, 0xBF};
  if (b == 0xF0) return {4, 0x90, 0xBF};
  if (b < 0xF4) return {4, 0x80, 0xBF};
  if (b == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Prefix ClassifyUtf8(std::string_view bytes) {
  const LeadByte lead = ClassifyLead(bytes[0]);
  if (lead.length == 0) return {Utf8Prefix::kInvalid, 1};
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Prefix::kIncomplete, i};
    const uint8_t b = bytes[i];
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (b < min || b > max) return {Utf8Prefix::kInvalid, i};
  }
  return {Utf8Prefix::kCharacter, lead.length};
}

size_t FindInvalidUtf8(std::string_view text) {
  size_t pos = 0;
  while (pos < text.size()) {
    const Utf8Prefix prefix = ClassifyUtf8(text.substr(pos));
    if (prefix.kind != Utf8Prefix::kCharacter) return pos;
    pos += prefix.length;
  }
  return std::string_view::npos;
}

char32_t NextCharacter(std::string_view valid_text, size_t* pos) {
  const uint8_t lead = valid_text[(*pos)++];
  if (lead < 0x80) return lead;
  const int tail = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t c = lead & (0x3F >> tail);
  for (int i = 0; i < tail; ++i) {
    c = c << 6 | (static_cast<uint8_t>(valid_text[(*pos)++]) & 0x3F);
  }
  return c;
}

void AppendUtf8(char32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
    return;
  }
  const int tail = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr uint8_t kLeadMark[] = {0, 0xC0, 0xE0, 0xF0};
  out->push_back(static_cast<char>(kLeadMark[tail] | c >> (6 * tail)));
  for (int i = tail - 1; i >= 0; --i) {
    out->push_back(static_cast<char>(0x80 | (c >> (6 * i) & 0x3F)));
  }
}

size_t AppendLossyUtf8(std::string_view bytes, std::string* out) {
  size_t pos = 0;
  while (pos < bytes.size()) {
    const Utf8Prefix prefix = ClassifyUtf8(bytes.substr(pos));
    if (prefix.kind == Utf8Prefix::kIncomplete) break;
    if (prefix.kind == Utf8Prefix::kCharacter) {
      out->append(bytes.substr(pos, prefix.length));
    } else {
      out->append(kReplacementCharacter);
    }
    pos += prefix.length;
  }
  return pos;
}

size_t CountCharacters(std::string_view valid_text) {
  size_t count = 0;
  for (const char c : valid_text) count += (c & 0xC0) != 0x80;
  return count;
}

}  // namespace mla::runtime

// Tested by tests/server/wire_test.cc.
#include "server/utf8.h"

#include <utf8proc.h>

#include <algorithm>

namespace mla::server {

size_t ValidUtf8Prefix(std::string_view text) {
  constexpr size_t kLongestCharacter = 4;
  size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t codepoint;
    const utf8proc_ssize_t length = utf8proc_iterate(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
        static_cast<utf8proc_ssize_t>(
            std::min(text.size() - at, kLongestCharacter)),
        &codepoint);
    if (length <= 0) break;
    at += static_cast<size_t>(length);
  }
  return at;
}

}  // namespace mla::server

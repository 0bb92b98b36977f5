#include "runtime/checkpoint/quote.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {
constexpr size_t kMaxBytes = 100;  // longer than any tensor name met so far
}

std::string Quote(std::string_view name) {
  const absl::string_view shown(name.data(), std::min(name.size(), kMaxBytes));
  return absl::StrCat("'", absl::CHexEscape(shown),
                      name.size() > kMaxBytes ? "..." : "", "'");
}

}  // namespace mla::runtime

// Tested by tests/runtime/safetensors_test.cc.

// Tested by tests/runtime/calibration_test.cc.
#include "runtime/convert/calibration.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {

absl::StatusOr<Windows> ReadCalibration(const CalibrationOptions& options,
                                        const Tokenizer& tokenizer) {
  Windows all;
  for (const std::string& file : options.files) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", file));
    const auto ids = tokenizer.Encode(text, {.add_special = false});
    if (!ids.ok()) {
      return absl::Status(ids.status().code(),
                          absl::StrCat(file, ": ", ids.status().message()));
    }
    const auto size = static_cast<size_t>(options.window_tokens);
    for (size_t first = 0; first + size <= ids->size(); first += size) {
      all.emplace_back(ids->begin() + first, ids->begin() + first + size);
    }
  }
  if (all.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no calibration text has ", options.window_tokens,
                     " tokens, which make one window"));
  }
  const size_t wanted =
      std::clamp<size_t>(options.tokens / options.window_tokens, 1, all.size());
  Windows chosen;
  for (size_t i = 0; i < wanted; ++i) {
    chosen.push_back(std::move(all[i * all.size() / wanted]));
  }
  return chosen;
}

}  // namespace mla::runtime

// Tested by tests/runtime/calibration_test.cc.
#include "runtime/convert/calibration.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/convert/calibration_records.h"
#include "runtime/convert/calibration_text.h"
#include "runtime/convert/sha256.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

constexpr size_t kMostHeldOut = 16;  // windows

absl::StatusOr<std::string> Read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return absl::NotFoundError(absl::StrCat("cannot read ", file));
  return text;
}

absl::StatusOr<std::vector<int32_t>> Encode(const std::string& file,
                                            const TextModel& model) {
  ASSIGN_OR_RETURN(const std::string text, Read(file));
  if (absl::EndsWith(file, ".jsonl")) {
    return EncodeRecords(text, file, WithoutTemplate::kRefuse, model);
  }
  auto ids = model.tokenizer->Encode(text, {.add_special = false});
  if (ids.ok()) return ids;
  return absl::Status(ids.status().code(),
                      absl::StrCat(file, ": ", ids.status().message()));
}

// Appends the text's windows; what is left behind the last whole one is not
// used.
void Cut(const std::vector<int32_t>& ids, const std::vector<int32_t>& prefix,
         size_t window_tokens, Windows& windows) {
  const size_t size = window_tokens - prefix.size();
  for (size_t first = 0; first + size <= ids.size(); first += size) {
    std::vector<int32_t>& window = windows.emplace_back(prefix);
    window.insert(window.end(), ids.begin() + first,
                  ids.begin() + first + size);
  }
}

absl::StatusOr<Windows> ReadAll(const CalibrationOptions& options,
                                const TextModel& model) {
  const std::vector<int32_t>& prefix = model.tokenizer->prefix();
  if (options.window_tokens <= static_cast<int>(prefix.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a window of ", options.window_tokens,
                     " tokens has no room behind the ", prefix.size(),
                     " that the model puts before every text"));
  }
  Windows all;
  for (const std::string& file : options.files) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, Encode(file, model));
    Cut(ids, prefix, options.window_tokens, all);
  }
  if (options.files.empty()) {
    ASSIGN_OR_RETURN(
        const std::vector<int32_t> ids,
        EncodeRecords(BuiltInCalibrationText(), "built-in calibration text",
                      WithoutTemplate::kPlain, model));
    Cut(ids, prefix, options.window_tokens, all);
  }
  if (all.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no calibration text has ", options.window_tokens,
                     " tokens, which make one window"));
  }
  return all;
}

// `count` of them, evenly spread and in order.
template <typename T>
std::vector<T> Spread(const std::vector<T>& all, size_t count) {
  std::vector<T> chosen;
  for (size_t i = 0; i < count; ++i) {
    chosen.push_back(all[i * all.size() / count]);
  }
  return chosen;
}

size_t HeldOut(const CalibrationOptions& options, size_t windows) {
  return options.hold_out ? std::min<size_t>(windows / 8, kMostHeldOut) : 0;
}

// Which of so many windows calibrate.
std::vector<size_t> Calibrating(const CalibrationOptions& options,
                                size_t windows) {
  std::vector<size_t> all(windows);
  std::iota(all.begin(), all.end(), 0);
  return Spread(all,
                std::clamp<size_t>(options.tokens / options.window_tokens, 1,
                                   windows - HeldOut(options, windows)));
}

}  // namespace

absl::StatusOr<Windows> ReadCalibration(const CalibrationOptions& options,
                                        const TextModel& model) {
  ASSIGN_OR_RETURN(Windows all, ReadAll(options, model));
  Windows chosen;
  for (const size_t i : Calibrating(options, all.size())) {
    chosen.push_back(std::move(all[i]));
  }
  return chosen;
}

absl::StatusOr<Windows> ReadHeldOut(const CalibrationOptions& options,
                                    const TextModel& model) {
  ASSIGN_OR_RETURN(const Windows all, ReadAll(options, model));
  const size_t count = HeldOut(options, all.size());
  if (count == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the calibration text has ", all.size(), " windows of ",
        options.window_tokens,
        " tokens, too few to hold one in eight out; evaluate on another text"));
  }
  const std::vector<size_t> calibrating = Calibrating(options, all.size());
  Windows left;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!std::binary_search(calibrating.begin(), calibrating.end(), i)) {
      left.push_back(all[i]);
    }
  }
  return Spread(left, count);
}

absl::StatusOr<std::string> CalibrationSha256(
    const CalibrationOptions& options) {
  if (options.files.empty()) return Sha256(BuiltInCalibrationText());
  std::string digests;
  for (const std::string& file : options.files) {
    ASSIGN_OR_RETURN(const std::string text, Read(file));
    absl::StrAppend(&digests, absl::EndsWith(file, ".jsonl") ? "jsonl " : "",
                    Sha256(text), "\n");
  }
  return Sha256(digests);
}

}  // namespace mla::runtime

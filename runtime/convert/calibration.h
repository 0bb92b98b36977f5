// Calibration: the text that conversion watches a model read.
//   FILE.jsonl  a record a line: {"messages": [...]} as chats are published,
//               rendered by the model's own chat template ("tools" goes along);
//               {"prompt", "completion"}, both messages or both texts;
//               {"text"}. Other fields are left alone.
//   any other   UTF-8 text.
//   none        the text that is built in: calibration_text/NOTICE.md.
// Threads: functions of their arguments; any.
// Errors:  NOT_FOUND names a file; INVALID_ARGUMENT the file and line that is
//          wrong, or that there is too little; FAILED_PRECONDITION if chats
//          have no template.
#ifndef MLA_RUNTIME_CONVERT_CALIBRATION_H_
#define MLA_RUNTIME_CONVERT_CALIBRATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/windows.h"
#include "runtime/text_model.h"

namespace mla::runtime {

struct CalibrationOptions {
  std::vector<std::string> files;  // empty: the built-in text
  int tokens = 32768;              // at most; rounded to windows
  int window_tokens = 512;
  // Leaves an eighth of all windows, at most 16, for ReadHeldOut. That takes
  // something from calibration only where it would use nearly all of them.
  bool hold_out = false;
};

// Windows spread evenly over all files together, in order: the same input gives
// the same windows. Each begins with what the tokenizer puts before a text.
absl::StatusOr<Windows> ReadCalibration(const CalibrationOptions& options,
                                        const TextModel& model);

// Windows that ReadCalibration leaves with options.hold_out, evenly spread as
// well. INVALID_ARGUMENT if there are too few to leave one.
absl::StatusOr<Windows> ReadHeldOut(const CalibrationOptions& options,
                                    const TextModel& model);

// What the options' files hold, or the built-in text, as one digest: it changes
// when a byte of them does.
absl::StatusOr<std::string> CalibrationSha256(
    const CalibrationOptions& options);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CALIBRATION_H_

// Calibration: the text that conversion watches a model read.
// Threads: functions of their arguments; any.
// Errors:  NOT_FOUND names a file; INVALID_ARGUMENT if there is too little.
#ifndef MLA_RUNTIME_CONVERT_CALIBRATION_H_
#define MLA_RUNTIME_CONVERT_CALIBRATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/convert/hidden_states.h"
#include "runtime/tokenizer/tokenizer.h"

namespace mla::runtime {

struct CalibrationOptions {
  std::vector<std::string> files;  // UTF-8 texts
  int tokens = 32768;              // at most; rounded to windows
  int window_tokens = 512;
};

// Windows spread evenly over all files together, in order: the same input gives
// the same windows.
absl::StatusOr<Windows> ReadCalibration(const CalibrationOptions& options,
                                        const Tokenizer& tokenizer);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CALIBRATION_H_

// The calibration text that is built in: records as in calibration.h, of many
// kinds, interleaved. Where it comes from: calibration_text/NOTICE.md.
// Threads: a constant; any.
#ifndef MLA_RUNTIME_CONVERT_CALIBRATION_TEXT_H_
#define MLA_RUNTIME_CONVERT_CALIBRATION_TEXT_H_

#include <string_view>

namespace mla::runtime {

std::string_view BuiltInCalibrationText();

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CALIBRATION_TEXT_H_

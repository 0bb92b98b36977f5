// Flags that `convert` and `serve --convert` have in common.
#ifndef MLA_SERVER_CONVERSION_FLAGS_H_
#define MLA_SERVER_CONVERSION_FLAGS_H_

#include "runtime/convert/calibration.h"

namespace CLI {
class App;
}

namespace mla::server {

// --calibration, --calibration-tokens, --window-tokens. The options outlive the
// parse, and hold the defaults.
void AddCalibrationFlags(CLI::App& command,
                         runtime::CalibrationOptions& options);

}  // namespace mla::server

#endif  // MLA_SERVER_CONVERSION_FLAGS_H_

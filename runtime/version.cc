#include "runtime/version.h"

namespace mla::runtime {
const char* Version() { return MLA_VERSION; }
}  // namespace mla::runtime

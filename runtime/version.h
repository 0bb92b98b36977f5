// The version of this build, as --version and mla_build_info print it.
#ifndef MLA_RUNTIME_VERSION_H_
#define MLA_RUNTIME_VERSION_H_

namespace mla::runtime {
const char* Version();
}

#endif  // MLA_RUNTIME_VERSION_H_

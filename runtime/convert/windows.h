// Windows: the texts that conversion and its tests compute.
// Threads: a plain value; any.
#ifndef MLA_RUNTIME_CONVERT_WINDOWS_H_
#define MLA_RUNTIME_CONVERT_WINDOWS_H_

#include <cstdint>
#include <vector>

namespace mla::runtime {

// Token ids of texts that are computed each for itself, from position 0.
using Windows = std::vector<std::vector<int32_t>>;

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_WINDOWS_H_

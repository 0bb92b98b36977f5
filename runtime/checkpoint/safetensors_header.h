// The JSON header of a safetensors file, read into plain entries:
//
//   {"__metadata__": {"format": "pt"},
//    "NAME": {"dtype": "BF16", "shape": [576], "data_offsets": [0, 1152]}}
//
// It is read as a stream of events: no tree is built, so a header costs memory
// in proportion to what it says and no nesting can exhaust the stack.
// Threads: any. Errors: INVALID_ARGUMENT that names the tensor and field.
#ifndef MLA_RUNTIME_CHECKPOINT_SAFETENSORS_HEADER_H_
#define MLA_RUNTIME_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mla::runtime {

struct SafetensorsEntry {
  std::string dtype;  // as written: "F32", "I64", ...
  std::vector<int64_t> shape;
  std::vector<int64_t>
      data_offsets;  // exactly two: begin, end; not yet checked
};

// By tensor name. `json` is the text between the length field and the data.
absl::StatusOr<std::map<std::string, SafetensorsEntry>> ParseSafetensorsHeader(
    std::string_view json);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_SAFETENSORS_HEADER_H_

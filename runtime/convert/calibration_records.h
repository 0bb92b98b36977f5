// EncodeRecords: the token ids of a .jsonl text's records, one behind the
// other, as calibration.h describes them. Threads: a function of its arguments;
// any. Errors:  INVALID_ARGUMENT and FAILED_PRECONDITION begin with NAME:LINE.
#ifndef MLA_RUNTIME_CONVERT_CALIBRATION_RECORDS_H_
#define MLA_RUNTIME_CONVERT_CALIBRATION_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text_model.h"

namespace mla::runtime {

// What becomes of a chat that the model has no template for, or one that
// refuses it.
enum class WithoutTemplate {
  kRefuse,
  kPlain,  // "role: content" in paragraphs
};

absl::StatusOr<std::vector<int32_t>> EncodeRecords(
    std::string_view jsonl, const std::string& name,
    WithoutTemplate without_template, const TextModel& model);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CALIBRATION_RECORDS_H_

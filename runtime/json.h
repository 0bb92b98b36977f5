// ParseJson reads JSON from outside without throwing.
// Threads: any.
// Errors:  INVALID_ARGUMENT if the text is not JSON, or nests deeper than any
//          configuration file does: code that walks a tree recurses.
#ifndef MLA_RUNTIME_JSON_H_
#define MLA_RUNTIME_JSON_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace mla::runtime {

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);

// Keeps the order of objects' keys, which templates print.
absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(std::string_view text);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_JSON_H_

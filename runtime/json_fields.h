// Typed reads of JSON fields whose errors name the field.
// Threads: any. Errors: INVALID_ARGUMENT "config field 'x': ...".
#ifndef MLA_RUNTIME_JSON_FIELDS_H_
#define MLA_RUNTIME_JSON_FIELDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace mla::runtime {

// Absent and null fields take the fallback.
absl::StatusOr<int> ReadInt(const nlohmann::json& object, const char* field,
                            int fallback);
absl::StatusOr<double> ReadNumber(const nlohmann::json& object,
                                  const char* field, double fallback);
absl::StatusOr<bool> ReadBool(const nlohmann::json& object, const char* field,
                              bool fallback);
absl::StatusOr<std::string> ReadString(const nlohmann::json& object,
                                       const char* field,
                                       const std::string& fallback);
// An integer or an array of integers; empty when absent.
absl::StatusOr<std::vector<int>> ReadInts(const nlohmann::json& object,
                                          const char* field);
// A number or an array of numbers; empty when absent.
absl::StatusOr<std::vector<double>> ReadNumbers(const nlohmann::json& object,
                                                const char* field);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_JSON_FIELDS_H_

// Reads fields of tokenizer files; one of the wrong type is a status that names
// it. Threads: any; pure functions. Errors: InvalidArgument.
#ifndef MLA_RUNTIME_TOKENIZER_FIELDS_H_
#define MLA_RUNTIME_TOKENIZER_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace mla::runtime {

// The field, or null if `object` is no object or has no such field.
const nlohmann::json& Field(const nlohmann::json& object, const char* name);

// A field that is absent or null gives `fallback`.
absl::StatusOr<bool> BoolField(const nlohmann::json& object, const char* name,
                               bool fallback);
absl::StatusOr<std::string> StringField(const nlohmann::json& object,
                                        const char* name, const char* fallback);

// A field that must be there.
absl::StatusOr<std::string> StringField(const nlohmann::json& object,
                                        const char* name);
absl::StatusOr<int64_t> IntegerField(const nlohmann::json& object,
                                     const char* name);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_TOKENIZER_FIELDS_H_

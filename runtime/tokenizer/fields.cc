// Tested by tests/runtime/json_tokenizer_test.cc.
#include "runtime/tokenizer/fields.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

absl::Status WrongType(const char* name, const char* expected,
                       const nlohmann::json& found) {
  return absl::InvalidArgumentError(absl::StrCat(
      "field '", name, "' must be ", expected, ", not ", found.type_name()));
}

}  // namespace

const nlohmann::json& Field(const nlohmann::json& object, const char* name) {
  static const auto* const null = new nlohmann::json;
  if (!object.is_object()) return *null;
  const auto it = object.find(name);
  return it == object.end() ? *null : *it;
}

absl::StatusOr<bool> BoolField(const nlohmann::json& object, const char* name,
                               bool fallback) {
  const nlohmann::json& field = Field(object, name);
  if (field.is_null()) return fallback;
  if (!field.is_boolean()) return WrongType(name, "a boolean", field);
  return field.get<bool>();
}

absl::StatusOr<std::string> StringField(const nlohmann::json& object,
                                        const char* name) {
  const nlohmann::json& field = Field(object, name);
  if (!field.is_string()) return WrongType(name, "a string", field);
  return field.get<std::string>();
}

absl::StatusOr<std::string> StringField(const nlohmann::json& object,
                                        const char* name,
                                        const char* fallback) {
  if (Field(object, name).is_null()) return std::string(fallback);
  return StringField(object, name);
}

absl::StatusOr<int64_t> IntegerField(const nlohmann::json& object,
                                     const char* name) {
  const nlohmann::json& field = Field(object, name);
  // An unsigned number beyond int64 would wrap into a negative one.
  if (!field.is_number_integer() ||
      (field.is_number_unsigned() &&
       field.get<uint64_t>() > std::numeric_limits<int64_t>::max())) {
    return WrongType(name, "an integer", field);
  }
  return field.get<int64_t>();
}

}  // namespace mla::runtime

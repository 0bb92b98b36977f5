// Tested by tests/runtime/model_config_test.cc.
#include "runtime/json_fields.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

const nlohmann::json* Find(const nlohmann::json& object, const char* field) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(field);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::Status WrongType(const char* field, const char* wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("config field '", field, "': expected ", wanted));
}

absl::StatusOr<int> AsInt(double number, const char* field) {
  if (number != std::floor(number) ||
      std::abs(number) > std::numeric_limits<int>::max()) {
    return WrongType(field, "an integer of 32 bits");
  }
  return static_cast<int>(number);
}

}  // namespace

absl::StatusOr<int> ReadInt(const nlohmann::json& object, const char* field,
                            int fallback) {
  const nlohmann::json* value = Find(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_number()) return WrongType(field, "an integer");
  return AsInt(value->get<double>(), field);
}

absl::StatusOr<double> ReadNumber(const nlohmann::json& object,
                                  const char* field, double fallback) {
  const nlohmann::json* value = Find(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_number()) return WrongType(field, "a number");
  return value->get<double>();
}

absl::StatusOr<bool> ReadBool(const nlohmann::json& object, const char* field,
                              bool fallback) {
  const nlohmann::json* value = Find(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return WrongType(field, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> ReadString(const nlohmann::json& object,
                                       const char* field,
                                       const std::string& fallback) {
  const nlohmann::json* value = Find(object, field);
  if (value == nullptr) return fallback;
  if (!value->is_string()) return WrongType(field, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<int>> ReadInts(const nlohmann::json& object,
                                          const char* field) {
  ASSIGN_OR_RETURN(const std::vector<double> numbers,
                   ReadNumbers(object, field));
  std::vector<int> ints;
  for (const double number : numbers) {
    ASSIGN_OR_RETURN(const int integer, AsInt(number, field));
    ints.push_back(integer);
  }
  return ints;
}

absl::StatusOr<std::vector<double>> ReadNumbers(const nlohmann::json& object,
                                                const char* field) {
  const nlohmann::json* value = Find(object, field);
  if (value == nullptr) return std::vector<double>();
  if (value->is_number()) return std::vector<double>{value->get<double>()};
  if (!value->is_array()) return WrongType(field, "an array of numbers");
  std::vector<double> numbers;
  for (const nlohmann::json& element : *value) {
    if (!element.is_number()) return WrongType(field, "an array of numbers");
    numbers.push_back(element.get<double>());
  }
  return numbers;
}

}  // namespace mla::runtime

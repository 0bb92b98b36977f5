// Tested by tests/runtime/chat_template_test.cc.
#include "runtime/chat/json_values.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/status_macros.h"
#include "runtime/utf8.h"

namespace mla::runtime::jinja {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxRoleBytes = 32;

bool IsPlainWord(const std::string& text) {
  return text.size() <= kMaxRoleBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-';
         });
}

absl::StatusOr<Value> FromText(const std::string& text, bool trusted) {
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text is not valid UTF-8 at byte ", invalid));
  }
  return Value::Of(MarkedText(text, trusted));
}

absl::StatusOr<Value> FromScalar(const ordered_json& json) {
  if (json.is_boolean()) return Value::Of(json.get<bool>());
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
    return Value::Of(json.get<double>());
  }
  if (json.is_number_integer()) return Value::Of(json.get<int64_t>());
  if (json.is_number_float()) return Value::Of(json.get<double>());
  if (json.is_string()) {
    return FromText(json.get_ref<const std::string&>(), /*trusted=*/false);
  }
  return Value();
}

absl::StatusOr<Value> FromJsonAt(Budget& budget, const ordered_json& json,
                                 int depth) {
  if (depth > kMaxValueDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("a message nests deeper than ", kMaxValueDepth));
  }
  if (json.is_array()) {
    std::vector<Value> items;
    for (const ordered_json& element : json) {
      ASSIGN_OR_RETURN(Value item, FromJsonAt(budget, element, depth + 1));
      items.push_back(std::move(item));
    }
    return MakeList(budget, std::move(items));
  }
  if (!json.is_object()) return FromScalar(json);
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, field] : json.items()) {
    ASSIGN_OR_RETURN(Value key, FromText(name, /*trusted=*/false));
    Value value;
    if (name == "role" && field.is_string() &&
        IsPlainWord(field.get_ref<const std::string&>())) {
      value = Value::Of(field.get_ref<const std::string&>());
    } else {
      ASSIGN_OR_RETURN(value, FromJsonAt(budget, field, depth + 1));
    }
    items.emplace_back(std::move(key), std::move(value));
  }
  return MakeDict(budget, std::move(items));
}

}  // namespace

absl::StatusOr<Value> FromJson(Budget& budget, const ordered_json& json) {
  return FromJsonAt(budget, json, 0);
}

}  // namespace mla::runtime::jinja

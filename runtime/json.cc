#include "runtime/json.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mla::runtime {
namespace {

constexpr int kMaxDepth = 100;

template <typename Json>
absl::StatusOr<Json> Parse(std::string_view text) {
  // Called at every event; false drops what the event is about.
  bool too_deep = false;
  const auto within_depth = [&](int depth, typename Json::parse_event_t,
                                Json&) {
    too_deep |= depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), within_depth,
                          /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON nests deeper than ", kMaxDepth));
  }
  if (json.is_discarded()) return absl::InvalidArgumentError("not valid JSON");
  return json;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text) {
  return Parse<nlohmann::json>(text);
}

absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(std::string_view text) {
  return Parse<nlohmann::ordered_json>(text);
}

}  // namespace mla::runtime

// Tested by tests/runtime/json_test.cc.

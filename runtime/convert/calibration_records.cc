// Tested by tests/runtime/calibration_test.cc.
#include "runtime/convert/calibration_records.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "runtime/json.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using Json = nlohmann::ordered_json;

// Templates may print the date; the same text is to give the same tokens on any
// day and, at noon, in nearly any time zone.
absl::Time FixedNow() {
  return absl::FromCivil(absl::CivilHour(2025, 1, 1, 12), absl::UTCTimeZone());
}

bool IsText(const Json& record, const char* field) {
  return record.contains(field) && record[field].is_string();
}

bool IsChat(const Json& record, const char* field) {
  if (!record.contains(field) || !record[field].is_array()) return false;
  for (const Json& message : record[field]) {
    if (!message.is_object() || !IsText(message, "role")) return false;
  }
  return !record[field].empty();
}

class Encoder {
 public:
  Encoder(const TextModel& model, WithoutTemplate without_template)
      : model_(model), without_template_(without_template) {}

  absl::StatusOr<std::vector<int32_t>> Encode(const std::string& line) const {
    ASSIGN_OR_RETURN(const Json record, ParseOrderedJson(line));
    if (!record.is_object()) {
      return absl::InvalidArgumentError("not a JSON object");
    }
    if (IsChat(record, "messages")) return Chat(record["messages"], record);
    if (IsChat(record, "prompt") && IsChat(record, "completion")) {
      Json messages = record["prompt"];
      for (const Json& answer : record["completion"]) {
        messages.push_back(answer);
      }
      return Chat(messages, record);
    }
    if (IsText(record, "prompt") && IsText(record, "completion")) {
      return Text(record["prompt"].get<std::string>() +
                  record["completion"].get<std::string>());
    }
    if (IsText(record, "text")) return Text(record["text"].get<std::string>());
    return absl::InvalidArgumentError(
        "has none of: \"messages\", a non-empty list of objects with a "
        "\"role\"; \"prompt\" and \"completion\", both such lists or both "
        "strings; \"text\", a string");
  }

 private:
  absl::StatusOr<std::vector<int32_t>> Text(std::string text) const {
    if (!absl::EndsWith(text, "\n")) text += "\n\n";
    return model_.tokenizer->Encode(text, {.add_special = false});
  }

  absl::StatusOr<std::vector<int32_t>> Chat(const Json& messages,
                                            const Json& record) const {
    auto rendered = Render(messages, record);
    if (rendered.ok()) {
      return EncodePrompt(*model_.tokenizer, *rendered,
                          PromptMarkup::kTemplateOnly);
    }
    if (without_template_ == WithoutTemplate::kRefuse) return rendered.status();
    std::string text;
    for (const Json& message : messages) {
      absl::StrAppend(&text, message["role"].get<std::string>(), ": ",
                      message.value("content", std::string()), "\n\n");
    }
    return Text(std::move(text));
  }

  absl::StatusOr<RenderedPrompt> Render(const Json& messages,
                                        const Json& record) const {
    if (!model_.chat_template.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("holds a chat, but it cannot be rendered: ",
                       model_.chat_template.status().message()));
    }
    ChatOptions options;
    options.add_generation_prompt = false;
    options.now = FixedNow();
    if (record.contains("tools")) options.tools = record["tools"];
    if (!options.tools.is_null() && !options.tools.is_array()) {
      return absl::InvalidArgumentError("\"tools\" is not a list");
    }
    return (*model_.chat_template)->Render(messages, options);
  }

  const TextModel& model_;
  const WithoutTemplate without_template_;
};

}  // namespace

absl::StatusOr<std::vector<int32_t>> EncodeRecords(
    std::string_view jsonl, const std::string& name,
    WithoutTemplate without_template, const TextModel& model) {
  const Encoder encoder(model, without_template);
  std::vector<int32_t> all;
  for (int number = 1; !jsonl.empty(); ++number) {
    const size_t end = jsonl.find('\n');
    const std::string line(jsonl.substr(0, end));
    jsonl.remove_prefix(end == jsonl.npos ? jsonl.size() : end + 1);
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const auto ids = encoder.Encode(line);
    if (!ids.ok()) {
      return absl::Status(
          ids.status().code(),
          absl::StrCat(name, ":", number, ": ", ids.status().message()));
    }
    all.insert(all.end(), ids->begin(), ids->end());
  }
  return all;
}

}  // namespace mla::runtime

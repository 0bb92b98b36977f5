// Tested by tests/runtime/text_golden_test.cc.
#include "runtime/verify/text_golden.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

using nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

// A case's outcome: OK, or what differs.
using CheckLine = absl::Status (*)(const TextModel&, const ordered_json&);

absl::Status Differs(const std::string& what) {
  return absl::InternalError(what);
}

absl::Status CheckEncode(const TextModel& model, const ordered_json& line) {
  const auto text = line.at("text").get<std::string>();
  for (const bool special : {false, true}) {
    const char* field = special ? "ids_with_special" : "ids";
    if (!line.contains(field)) continue;
    ASSIGN_OR_RETURN(const Ids ids,
                     model.tokenizer->Encode(text, {.add_special = special,
                                                    .parse_special = true}));
    if (ids != line.at(field).get<Ids>()) return Differs(field);
  }
  return absl::OkStatus();
}

absl::Status CheckDecode(const TextModel& model, const ordered_json& line) {
  const Ids ids = line.at("ids").get<Ids>();
  if (model.tokenizer->Decode(ids, false) != line.at("text")) {
    return Differs("text");
  }
  if (model.tokenizer->Decode(ids, true) != line.at("text_skip_special")) {
    return Differs("text_skip_special");
  }
  for (size_t n = 1; n <= ids.size(); ++n) {
    const auto prefix = absl::MakeConstSpan(ids).first(n);
    if (model.tokenizer->Decode(prefix, false) !=
        line.at("prefixes").at(n - 1)) {
      return Differs(absl::StrCat("the prefix of ", n));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ChatOptions> ReadChatOptions(const ordered_json& line) {
  ChatOptions options;
  options.add_generation_prompt = line.at("add_generation_prompt").get<bool>();
  options.tools = line.at("tools");
  options.extra = line.at("kwargs");
  absl::CivilSecond now;
  if (!absl::ParseCivilTime(line.at("now").get<std::string>(), &now)) {
    return absl::InvalidArgumentError("'now' is no time");
  }
  options.now = absl::FromCivil(now, absl::LocalTimeZone());
  return options;
}

// Python's errors read "TypeError: words"; what a template raises itself must
// come out word for word, of the interpreter's own errors ours holds the words.
absl::Status CheckChatError(const absl::Status& status,
                            const std::string& error) {
  if (status.ok()) return Differs("an error was expected");
  const size_t colon = error.find(": ");
  const std::string words =
      colon == std::string::npos ? error : error.substr(colon + 2);
  const std::string message(status.message());
  const bool same = absl::StartsWith(error, "TemplateError: ")
                        ? message == words
                        : absl::StrContains(message, words);
  return same ? absl::OkStatus() : Differs("error: " + message);
}

absl::Status CheckChat(const TextModel& model, const ordered_json& line) {
  RETURN_IF_ERROR(model.chat_template.status());
  ASSIGN_OR_RETURN(const ChatOptions options, ReadChatOptions(line));
  const absl::StatusOr<RenderedPrompt> prompt =
      (*model.chat_template)->Render(line.at("messages"), options);
  if (line.contains("error")) {
    return CheckChatError(prompt.status(), line.at("error").get<std::string>());
  }
  RETURN_IF_ERROR(prompt.status());
  if (prompt->text != line.at("rendered")) return Differs("rendered");
  ASSIGN_OR_RETURN(const Ids ids, EncodePrompt(*model.tokenizer, *prompt,
                                               PromptMarkup::kEverywhere));
  return ids == line.at("ids").get<Ids>() ? absl::OkStatus() : Differs("ids");
}

// A case that lacks a field throws inside the JSON library.
absl::Status CheckSafely(CheckLine check, const TextModel& model,
                         const ordered_json& line) {
  try {
    return check(model, line);
  } catch (const nlohmann::json::exception& e) {
    return Differs(e.what());
  }
}

absl::StatusOr<Check> CheckFile(const TextModel& model,
                                const std::filesystem::path& path,
                                CheckLine check) {
  std::ifstream in(path, std::ios::binary);
  Check result{.name = path.filename(), .error = 0, .bound = 0, .detail = ""};
  int number = 0;
  for (std::string text; std::getline(in, text);) {
    ++number;
    const ordered_json line = ordered_json::parse(text, nullptr, false);
    const absl::Status status = line.is_object()
                                    ? CheckSafely(check, model, line)
                                    : Differs("not a JSON object");
    if (status.ok()) continue;
    if (result.error++ == 0) {
      result.detail = absl::StrCat("; first: line ", number, ": ",
                                   std::string(status.message()));
    }
  }
  if (number == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.filename().string(), " holds no cases"));
  }
  result.detail = absl::StrCat(number, " lines", result.detail);
  return result;
}

CheckLine CheckFor(const std::string& file) {
  if (absl::EndsWith(file, "encode.jsonl")) return CheckEncode;
  if (absl::EndsWith(file, "decode.jsonl")) return CheckDecode;
  if (absl::EndsWith(file, "chat.jsonl")) return CheckChat;
  return nullptr;
}

std::vector<std::filesystem::path> GoldenFiles(const std::string& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (CheckFor(entry.path().filename()) != nullptr) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

bool HasTextGoldens(const std::string& folder) {
  return !GoldenFiles(folder).empty();
}

absl::Status VerifyTextGoldens(const TextModel& model,
                               const std::string& folder, Report& report) {
  if (model.tokenizer == nullptr) {
    return absl::FailedPreconditionError("the model has no tokenizer");
  }
  for (const std::filesystem::path& path : GoldenFiles(folder)) {
    ASSIGN_OR_RETURN(Check check,
                     CheckFile(model, path, CheckFor(path.filename())));
    report.checks.push_back(std::move(check));
  }
  return absl::OkStatus();
}

}  // namespace mla::runtime

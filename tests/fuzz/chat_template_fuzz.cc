// Any bytes as a chat template and as a message's content (split at the first
// NUL): a status, or a prompt whose trusted ranges are what they promise.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/chat/chat_template.h"
#include "runtime/utf8.h"

namespace {

using ::mla::runtime::ChatTemplate;
using ::nlohmann::ordered_json;

void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckPrompt(const mla::runtime::RenderedPrompt& prompt) {
  Require(mla::runtime::FindInvalidUtf8(prompt.text) == std::string::npos);
  size_t end = 0;
  for (const auto& range : prompt.trusted) {
    Require(range.begin >= end && range.begin < range.end);
    end = range.end;
  }
  Require(end <= prompt.text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = input.find('\0');
  const std::string_view content =
      split == std::string_view::npos ? "Hello" : input.substr(split + 1);
  const auto chat = ChatTemplate::Parse(
      input.substr(0, split), {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  if (!chat.ok()) return 0;

  const ordered_json arguments = {{"city", "Z"}, {"days", 3}, {"x", 1.5}};
  const ordered_json call = {
      {"type", "function"},
      {"function", {{"name", "f"}, {"arguments", arguments}}}};
  const ordered_json messages = {
      {{"role", "system"}, {"content", "Be brief."}},
      {{"role", "user"}, {"content", std::string(content)}},
      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}},
      {{"role", "tool"}, {"content", {{{"type", "text"}, {"text", "t"}}}}}};
  mla::runtime::ChatOptions options;
  options.tools = {call};
  options.extra = {{"enable_thinking", true}, {"n", 7}};
  const auto prompt = (*chat)->Render(messages, options);
  if (prompt.ok()) CheckPrompt(*prompt);
  return 0;
}

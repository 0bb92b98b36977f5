// Every conversation of the chat goldens: the text, the ids, or the error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chat/chat_template.h"
#include "tests/runtime/tokenizer_golden.h"

namespace mla::runtime {
namespace {

using ::mla::testing::CommittedGoldenDir;
using ::mla::testing::FamilyDir;
using ::mla::testing::GoldenDir;
using ::mla::testing::ReadFile;
using ::mla::testing::ReadJsonLines;
using ::nlohmann::json;
using ::nlohmann::ordered_json;
using ::testing::HasSubstr;

ChatOptions OptionsOf(const ordered_json& row) {
  ChatOptions options;
  options.add_generation_prompt = row["add_generation_prompt"];
  options.tools = row["tools"];
  options.extra = row["kwargs"];
  absl::CivilSecond now;
  EXPECT_TRUE(absl::ParseCivilTime(row["now"].get<std::string>(), &now));
  options.now = absl::FromCivil(now, absl::LocalTimeZone());
  return options;
}

// "TemplateError: <what the template raised>" is the whole message here; of
// Python's own errors ours holds the words.
void ExpectError(const absl::Status& status, const std::string& error) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  const size_t colon = error.find(": ");
  const std::string words = error.substr(colon + 2);
  if (error.substr(0, colon) == "TemplateError") {
    EXPECT_EQ(std::string(status.message()), words);
  } else {
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
}

void ExpectChats(const ChatTemplate& chat, const std::filesystem::path& rows,
                 const Tokenizer* tokenizer) {
  for (const auto& row : ReadJsonLines(rows)) {
    SCOPED_TRACE(row["name"]);
    const auto prompt = chat.Render(row["messages"], OptionsOf(row));
    if (row.contains("error")) {
      ExpectError(prompt.status(), row["error"]);
      continue;
    }
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    EXPECT_EQ(prompt->text, row["rendered"]);
    if (tokenizer == nullptr) continue;
    const auto ids =
        EncodePrompt(*tokenizer, *prompt, PromptMarkup::kEverywhere);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, row["ids"].get<std::vector<int32_t>>());
  }
}

class Family : public ::testing::TestWithParam<const char*> {};

TEST_P(Family, RendersAndEncodesAsHuggingFaceDoes) {
  const auto dir = FamilyDir(GetParam());
  const std::string config = ReadFile(dir / "tokenizer_config.json");
  const auto tokenizer =
      Tokenizer::FromJson(ReadFile(dir / "tokenizer.json"), config);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  // The qwen2 family keeps its template in a file of its own.
  auto source = FindChatTemplate(config);
  if (absl::IsNotFound(source.status())) {
    source = ReadFile(dir / "chat_template.jinja");
  }
  ASSERT_TRUE(source.ok()) << source.status();
  const auto chat = ChatTemplate::Parse(*source, (*tokenizer)->named_tokens());
  ASSERT_TRUE(chat.ok()) << chat.status();
  ExpectChats(**chat, dir / "chat.jsonl", tokenizer->get());
}

INSTANTIATE_TEST_SUITE_P(Golden, Family,
                         ::testing::ValuesIn(mla::testing::kFamilies),
                         [](const auto& info) { return info.param; });

TEST(SmolLm2, RendersAndEncodesAsHuggingFaceDoes) {
  const json vocab = json::parse(
      ReadFile(CommittedGoldenDir() / "tokenizers/smollm2_vocab.json"));
  const auto tokenizer = Tokenizer::FromGguf(mla::testing::SmolLm2Vocab());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto chat = ChatTemplate::Parse(
      vocab["chat_template"].get<std::string>(), (*tokenizer)->named_tokens());
  ASSERT_TRUE(chat.ok()) << chat.status();
  ExpectChats(**chat, GoldenDir() / "tokenizers/smollm2_chat.jsonl",
              tokenizer->get());
}

}  // namespace
}  // namespace mla::runtime

// Small templates, one feature each, against what Hugging Face's Jinja makes of
// them (tests/golden/chat/make_snippets.py).
#include <gtest/gtest.h>

#include "runtime/chat/chat_template.h"
#include "tests/support/golden_files.h"

namespace mla::runtime {
namespace {

absl::StatusOr<RenderedPrompt> Render(const std::string& source,
                                      const nlohmann::ordered_json& setting) {
  const auto chat = ChatTemplate::Parse(
      source, {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
  if (!chat.ok()) return chat.status();
  ChatOptions options;
  options.extra = setting["variables"];
  options.now = absl::FromCivil(absl::CivilSecond(2026, 7, 26, 9, 5, 3),
                                absl::LocalTimeZone());
  return (*chat)->Render(setting["messages"], options);
}

TEST(Snippets, RenderAsHuggingFacesJinjaDoes) {
  const auto rows = mla::testing::ReadJsonLines(
      mla::testing::CommittedGoldenDir() / "chat/snippets.jsonl");
  ASSERT_FALSE(rows.empty());
  const auto& setting = rows.back();
  ASSERT_TRUE(setting.contains("variables"));
  for (size_t i = 0; i + 1 < rows.size(); ++i) {
    const auto& row = rows[i];
    const auto prompt = Render(row["template"], setting);
    if (row.contains("error")) {
      EXPECT_FALSE(prompt.ok()) << row["template"] << " gave " << prompt->text
                                << ", not " << row["error"];
    } else {
      ASSERT_TRUE(prompt.ok()) << row["template"] << ": " << prompt.status();
      EXPECT_EQ(prompt->text, row["rendered"]) << row["template"];
    }
  }
}

}  // namespace
}  // namespace mla::runtime

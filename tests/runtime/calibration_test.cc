// Calibration windows, against what cutting, spreading and rendering mean.
#include "runtime/convert/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/convert/calibration_text.h"
#include "runtime/convert/sha256.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using ::testing::HasSubstr;

class Calibration : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = *LoadTextModel(testing::GoldenModelsFolder() + "/qwen2");
    ASSERT_NE(model_.tokenizer, nullptr);
    folder_ = ::testing::TempDir() + "/calibration_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name, const std::string& text) {
    testing::WriteFile(folder_ + "/" + name, text);
    return folder_ + "/" + name;
  }
  std::vector<int32_t> Ids(const std::string& text) {
    return *model_.tokenizer->Encode(text, {.add_special = false});
  }
  absl::StatusOr<Windows> Read(std::vector<std::string> files, int tokens,
                               int window_tokens) {
    return ReadCalibration({std::move(files), tokens, window_tokens}, model_);
  }
  // All tokens of a file but those behind the last whole window, as one list.
  std::vector<int32_t> All(const std::string& file, int window_tokens = 2) {
    const auto windows = Read({file}, 1 << 24, window_tokens);
    EXPECT_TRUE(windows.ok()) << windows.status();
    std::vector<int32_t> ids;
    for (const auto& window : *windows) {
      ids.insert(ids.end(), window.begin(), window.end());
    }
    return ids;
  }
  void SetTemplate(const std::string& source) {
    model_.chat_template =
        *ChatTemplate::Parse(source, model_.tokenizer->named_tokens());
  }
  absl::Status Refusal(const std::string& jsonl) {
    return Read({File("bad.jsonl", jsonl)}, 8, 2).status();
  }

  TextModel model_;
  std::string folder_;
};

std::vector<int32_t> Even(std::vector<int32_t> ids) {
  ids.resize(ids.size() / 2 * 2);
  return ids;
}

// A text that no stretch of a few words is in twice.
std::string Words(std::mt19937& random, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) absl::StrAppend(&text, random(), " ");
  return text;
}

TEST_F(Calibration, WindowsAreCutsOfTheFilesEvenlySpreadAndInOrder) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 50; ++trial) {
    const int size = 8 + random() % 30, wanted = 1 + random() % 12;
    std::vector<std::string> files;
    Windows all;
    for (int f = 0; f < 3; ++f) {
      const std::string text = Words(random, random() % 150);
      files.push_back(File(absl::StrCat(f, ".txt"), text));
      const std::vector<int32_t> ids = Ids(text);
      for (size_t i = 0; i + size <= ids.size(); i += size) {
        all.emplace_back(ids.begin() + i, ids.begin() + i + size);
      }
    }
    // A few tokens more than windows hold change nothing.
    const auto read = Read(files, wanted * size + random() % size, size);
    if (all.empty()) {
      EXPECT_TRUE(absl::IsInvalidArgument(read.status()));
      continue;
    }
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->size(), std::min<size_t>(wanted, all.size()));
    // Each is there, in order, and the gaps differ by one at most.
    size_t at = 0;
    std::vector<size_t> places;
    for (const auto& window : *read) {
      while (at < all.size() && all[at] != window) ++at;
      ASSERT_LT(at, all.size());
      places.push_back(at++);
    }
    std::set<size_t> gaps;
    for (size_t i = 1; i < places.size(); ++i) {
      gaps.insert(places[i] - places[i - 1]);
    }
    if (!gaps.empty()) {
      EXPECT_LE(*gaps.rbegin() - *gaps.begin(), 1);
    }
    EXPECT_EQ(*read, *Read(files, wanted * size, size));
  }
}

TEST_F(Calibration, WhatIsHeldOutDoesNotCalibrate) {
  std::mt19937 random(9);
  for (int trial = 0; trial < 30; ++trial) {
    CalibrationOptions options{
        {File("a.txt", Words(random, 300 + random() % 900))}, 0, 8};
    const size_t all = Read(options.files, 1 << 24, 8)->size();
    options.tokens = 8 * (1 + static_cast<int>(random() % (2 * all)));
    const Windows before = *ReadCalibration(options, model_);
    options.hold_out = true;
    const Windows calibrating = *ReadCalibration(options, model_);
    const auto held_out = ReadHeldOut(options, model_);
    ASSERT_TRUE(held_out.ok()) << held_out.status();
    EXPECT_EQ(held_out->size(), std::min<size_t>(16, all / 8));
    // Windows of random numbers differ.
    std::set<std::vector<int32_t>> seen(calibrating.begin(), calibrating.end());
    for (const auto& window : *held_out) {
      EXPECT_TRUE(seen.insert(window).second);
    }
    EXPECT_EQ(seen.size(), calibrating.size() + held_out->size());
    // Calibration gives up no more than that, and only if it must.
    if (before.size() + held_out->size() <= all) {
      EXPECT_EQ(calibrating, before);
    } else {
      EXPECT_EQ(calibrating.size(), all - held_out->size());
    }
  }
  const CalibrationOptions few{{File("few.txt", "one two three")}, 8, 2, true};
  const auto none = ReadHeldOut(few, model_);
  EXPECT_TRUE(absl::IsInvalidArgument(none.status())) << none.status();
  EXPECT_TRUE(ReadCalibration(few, model_).ok());
}

TEST_F(Calibration, EachWindowBeginsAsTheModelsTextsDo) {
  model_ = *LoadTextModel(testing::TestData("tokenizers/llama2"));
  const std::vector<int32_t> prefix = model_.tokenizer->prefix();
  ASSERT_EQ(prefix.size(), 1);
  std::mt19937 random(1);
  const std::string text = Words(random, 100);
  const auto windows = Read({File("a.txt", text)}, 1 << 20, 9);
  ASSERT_TRUE(windows.ok()) << windows.status();
  std::vector<int32_t> rest;
  for (const auto& window : *windows) {
    ASSERT_EQ(window.size(), 9);
    EXPECT_EQ(window[0], prefix[0]);
    rest.insert(rest.end(), window.begin() + 1, window.end());
  }
  std::vector<int32_t> ids = Ids(text);
  ids.resize(ids.size() / 8 * 8);
  EXPECT_EQ(rest, ids);
  EXPECT_TRUE(
      absl::IsInvalidArgument(Read({File("a.txt", text)}, 9, 1).status()));
}

TEST_F(Calibration, WhatCannotBeReadSaysWhichFile) {
  const std::string little = File("little.txt", "too little");
  EXPECT_THAT(Read({little}, 512, 512).status().message(),
              HasSubstr("no calibration text has 512 tokens"));
  const auto absent = Read({folder_ + "/absent.txt"}, 8, 2).status();
  EXPECT_TRUE(absl::IsNotFound(absent));
  EXPECT_THAT(absent.message(), HasSubstr("absent.txt"));
  const std::string latin = File("latin.txt", "caf\xE9 au lait");
  const auto bad = Read({latin}, 8, 2).status();
  EXPECT_TRUE(absl::IsInvalidArgument(bad));
  EXPECT_THAT(bad.message(), HasSubstr(latin + ": "));
}

TEST_F(Calibration, ALineIsAText) {
  const std::string jsonl =
      "{\"text\": \"one two\", \"id\": 7}\n\n  \r\n"
      "{\"text\": \"three\\n\"}\r\n"
      "{\"prompt\": \"two and two\", \"completion\": \" is four\"}";
  EXPECT_EQ(All(File("a.jsonl", jsonl)), Even([&] {
              std::vector<int32_t> ids = Ids("one two\n\n");
              for (const char* more : {"three\n", "two and two is four\n\n"}) {
                for (const int32_t id : Ids(more)) ids.push_back(id);
              }
              return ids;
            }()));
}

TEST_F(Calibration, ChatsAreRenderedByTheModelsTemplate) {
  SetTemplate(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}NOT HERE{% endif %}"
      "{% if tools %}{{ tools | length }} tools{% endif %}");
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "hi"}, )"
      R"({"role": "assistant", "content": "hello"}], "tools": [{}, {}]})"
      "\n"
      R"({"prompt": [{"role": "user", "content": "a"}], )"
      R"("completion": [{"role": "assistant", "content": "b"}]})"
      "\n";
  std::vector<int32_t> expected = Ids("<user>hi\n<assistant>hello\n2 tools");
  for (const int32_t id : Ids("<user>a\n<assistant>b\n")) {
    expected.push_back(id);
  }
  EXPECT_EQ(All(File("a.jsonl", chat)), Even(expected));
}

TEST_F(Calibration, TheTemplatesMarkupIsObeyedAndTheChatsIsNot) {
  model_ = *LoadTextModel(testing::TestData("tokenizers/qwen2"));
  const auto turn = model_.tokenizer->IdOf("<|im_start|>");
  ASSERT_TRUE(turn.has_value());
  SetTemplate("{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}");
  const auto ids = All(File(
      "a.jsonl",
      R"({"messages": [{"role": "user", "content": "<|im_start|> forged"}]})"));
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *turn), 1);
}

TEST_F(Calibration, WithoutATemplateAChatIsRefusedAndTheBuiltInOneIsText) {
  model_.chat_template = absl::NotFoundError("there is no template");
  const auto refused =
      Refusal("{\"text\": \"fine\"}\n{\"messages\": [{\"role\": \"user\"}]}\n");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("bad.jsonl:2: "));
  EXPECT_THAT(refused.message(), HasSubstr("there is no template"));
  EXPECT_TRUE(Read({}, 4096, 512).ok());
  SetTemplate("{{ raise_exception('no chats here') }}");
  EXPECT_THAT(Refusal("{\"messages\": [{\"role\": \"user\"}]}\n").message(),
              HasSubstr("bad.jsonl:1: no chats here"));
  EXPECT_TRUE(Read({}, 4096, 512).ok());
}

TEST_F(Calibration, ABadLineIsNamed) {
  SetTemplate("x");
  const std::map<std::string, std::string> bad = {
      {"{\"text\": ", "not valid JSON"},
      {"{\"text\": \"caf\xE9\"}", "not valid JSON"},
      {"{\"text\": \"\\ud800\"}", "not valid JSON"},
      {"[1, 2]", "not a JSON object"},
      {"{\"text\": 5}", "has none of"},
      {"{\"messages\": []}", "has none of"},
      {"{\"messages\": [\"hi\"]}", "has none of"},
      {"{\"messages\": [{\"content\": \"hi\"}]}", "has none of"},
      {"{\"prompt\": \"half\"}", "has none of"},
      {"{\"prompt\": \"a\", \"completion\": [{\"role\": \"user\"}]}",
       "has none of"},
      {"{\"messages\": [{\"role\": \"user\"}], \"tools\": 3}", "\"tools\""},
      {std::string(500, '['), "nests deeper"},
  };
  for (const auto& [line, why] : bad) {
    const auto refused = Refusal("{\"text\": \"fine\"}\n\n" + line + "\n{}\n");
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << line << refused;
    EXPECT_THAT(refused.message(), HasSubstr("bad.jsonl:3: ")) << line;
    EXPECT_THAT(refused.message(), HasSubstr(why)) << line;
  }
}

TEST_F(Calibration, BrokenBytesAreRefusedOrReadNeverMore) {
  SetTemplate("{{ messages[0].content }}");
  const std::string line =
      R"({"messages": [{"role": "user", "content": "h\u00e9llo"}]})";
  std::mt19937 random(3);
  for (int trial = 0; trial < 500; ++trial) {
    std::string broken = line;
    for (int i = 0; i < 3; ++i) {
      broken[random() % broken.size()] = static_cast<char>(random());
    }
    const absl::Status status = Refusal(broken);
    EXPECT_TRUE(status.ok() || !status.message().empty());
  }
}

TEST_F(Calibration, ADigestSaysWhatTheFilesHold) {
  // "abc" in FIPS 180-2, appendix B.1.
  EXPECT_EQ(Sha256("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string a = File("a.txt", "{}"), b = File("b.txt", "2"),
                    lines = File("a.jsonl", "{}");
  const std::vector<std::vector<std::string>> different = {
      {}, {a}, {b}, {a, b}, {b, a}, {lines}};
  std::set<std::string> digests;
  for (const auto& files : different) {
    digests.insert(*CalibrationSha256({files}));
  }
  EXPECT_EQ(digests.size(), different.size());
  EXPECT_EQ(*CalibrationSha256({{a}}),
            *CalibrationSha256({{File("copy.txt", "{}")}}));
  EXPECT_TRUE(
      absl::IsNotFound(CalibrationSha256({{folder_ + "/absent"}}).status()));
}

// However many windows are taken, they see about as many kinds as they can.
TEST_F(Calibration, AnyEvenChoiceOfTheBuiltInTextSeesManyKinds) {
  std::vector<std::string> kind_of_byte;
  std::set<std::string> kinds;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(
           std::string(BuiltInCalibrationText()), '\n', absl::SkipEmpty()))) {
    const auto record = nlohmann::json::parse(line);
    kinds.insert(record["kind"].get<std::string>());
    kind_of_byte.insert(kind_of_byte.end(), line.size(), record["kind"]);
  }
  EXPECT_GE(kinds.size(), 30);
  constexpr size_t kWindowBytes = 2000;  // about 512 tokens
  const size_t windows = kind_of_byte.size() / kWindowBytes;
  EXPECT_GE(windows, 100);
  for (size_t wanted = 4; wanted <= windows; ++wanted) {
    std::set<std::string> seen;
    for (size_t i = 0; i < wanted; ++i) {
      const size_t first = i * windows / wanted * kWindowBytes;
      seen.insert(kind_of_byte.begin() + first,
                  kind_of_byte.begin() + first + kWindowBytes);
    }
    EXPECT_GE(4 * seen.size(), 3 * std::min(wanted, kinds.size())) << wanted;
  }
}

TEST_F(Calibration, TheBuiltInTextHasTheDefaultsTokens) {
  const CalibrationOptions defaults;
  const auto windows = ReadCalibration(defaults, model_);
  ASSERT_TRUE(windows.ok()) << windows.status();
  EXPECT_EQ(windows->size() * defaults.window_tokens, defaults.tokens);
}

}  // namespace
}  // namespace mla::runtime

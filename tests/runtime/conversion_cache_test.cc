// What the cache finds again is what would be converted, and nothing else.
#include "runtime/convert/conversion_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ConversionCache : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    fs::copy(testing::GoldenModelsFolder() + "/qwen2", Source());
    for (const auto& entry : fs::directory_iterator(Source())) {
      fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
    }
    options_.in = Source();
    options_.spec = *ParseConversionSpec(
        "transmla:kv_lora_rank=20,qk_rope_head_dim=16,freqfold=2");
    options_.calibration.tokens = 64;
    options_.calibration.window_tokens = 32;
    options_.threads = 1;
    options_.progress = [this](const ConvertProgress& p) {
      ++(p.resumed ? resumed_ : converted_);
      layers_ = p.layers;
    };
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path Source() const { return root_ / "source"; }
  fs::path Weights() const { return Source() / "model.safetensors"; }
  std::string Convert() {
    const auto folder = ConvertCached(options_, {root_ / "cache"});
    EXPECT_TRUE(folder.ok()) << folder.status();
    return folder.value_or("");
  }
  // The bytes of all files.
  std::map<std::string, std::string> Contents(const fs::path& folder) {
    std::map<std::string, std::string> contents;
    for (const auto& entry : fs::directory_iterator(folder)) {
      contents[entry.path().filename()] = testing::ReadFile(entry.path());
    }
    return contents;
  }

  fs::path root_;
  ConvertOptions options_;
  std::atomic<int> converted_ = 0, resumed_ = 0, layers_ = 0;
};

TEST_F(ConversionCache, WhatIsThereIsNotConvertedAgain) {
  const std::string folder = Convert();
  EXPECT_EQ(converted_, layers_);
  const auto contents = Contents(folder);
  EXPECT_EQ(Convert(), folder);
  EXPECT_EQ(converted_, layers_);
  EXPECT_EQ(resumed_, 0);
  EXPECT_EQ(Contents(folder), contents);
  // It is what ConvertModel makes.
  options_.out = root_ / "direct";
  ASSERT_TRUE(ConvertModel(options_).ok());
  EXPECT_EQ(Contents(options_.out), contents);
}

TEST_F(ConversionCache, WhateverChangesTheResultIsConvertedAnew) {
  std::set<std::string> folders = {Convert()};
  const auto expect_another = [&](const std::string& what) {
    EXPECT_TRUE(folders.insert(Convert()).second) << what;
  };
  options_.spec.balance = 0.5;
  expect_another("method");
  options_.type = kernels::DType::kF32;
  expect_another("dtype");
  options_.calibration.tokens = 96;
  expect_another("calibration tokens");
  options_.calibration.window_tokens = 48;
  expect_another("window tokens");
  const std::string file = root_ / "text.txt";
  testing::WriteFile(file, std::string(4000, 'a'));
  options_.calibration.files = {file};
  expect_another("calibration file");
  testing::WriteFile(file, std::string(3999, 'a') + "b");
  expect_another("calibration text");

  // Another training, saved with the same size and time.
  const auto written = fs::last_write_time(Weights());
  std::string weights = testing::ReadFile(Weights());
  for (size_t i = weights.size() / 2; i < weights.size(); i += 512) {
    weights[i] = static_cast<char>(weights[i] ^ 1);
  }
  testing::WriteFile(Weights(), weights);
  fs::last_write_time(Weights(), written);
  expect_another("weights");
  fs::last_write_time(Weights(), written + std::chrono::seconds(1));
  expect_another("time of writing");
  std::string config = testing::ReadFile(Source() / "config.json");
  testing::WriteFile(Source() / "config.json", config + "\n");
  expect_another("config");

  // What has nothing to do with it changes nothing.
  testing::WriteFile(Source() / "README.md", "a model");
  options_.threads = 2;
  EXPECT_FALSE(folders.insert(Convert()).second);
}

TEST_F(ConversionCache, AMovedModelIsFoundAgain) {
  const std::string folder = Convert();
  fs::create_directories(root_ / "elsewhere");
  fs::rename(Source(), root_ / "elsewhere/source");
  options_.in = absl::StrCat(root_.string(), "/elsewhere/source/");
  EXPECT_EQ(Convert(), folder);
}

TEST_F(ConversionCache, AnInterruptedOneGoesOn) {
  const std::string folder = Convert();
  const auto contents = Contents(folder);
  converted_ = 0;
  fs::remove(fs::path(folder) / "config.json");
  fs::remove(fs::path(folder) /
             absl::StrFormat("model-layer-%04d.safetensors", layers_ - 1));
  testing::WriteFile(folder + "/model-layer-0002.safetensors.partial", "half");
  EXPECT_EQ(Convert(), folder);
  EXPECT_EQ(resumed_, layers_ - 1);
  EXPECT_EQ(converted_, 1);
  EXPECT_EQ(Contents(folder), contents);
}

TEST_F(ConversionCache, OnlyOneOfManyConverts) {
  constexpr int kCallers = 4;
  std::vector<std::string> folders(kCallers);
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] { folders[i] = Convert(); });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(converted_, layers_);
  EXPECT_EQ(resumed_, 0);
  for (const std::string& folder : folders) EXPECT_EQ(folder, folders[0]);
}

TEST_F(ConversionCache, ItsPlaceIsTheUsersCacheFolder) {
  const char* home = std::getenv("HOME");
  const std::string saved = home != nullptr ? home : "";
  setenv("HOME", (root_ / "home").c_str(), 1);
  setenv("XDG_CACHE_HOME", (root_ / "xdg").c_str(), 1);
  EXPECT_THAT(*ConvertCached(options_, {}),
              HasSubstr((root_ / "xdg/mlaserve/converted/source-").string()));
  setenv("XDG_CACHE_HOME", "relative", 1);
  const std::string in_home =
      (root_ / "home/.cache/mlaserve/converted/source-").string();
  EXPECT_THAT(*ConvertCached(options_, {}), HasSubstr(in_home));
  unsetenv("XDG_CACHE_HOME");
  EXPECT_THAT(*ConvertCached(options_, {}), HasSubstr(in_home));
  unsetenv("HOME");
  EXPECT_THAT(ConvertCached(options_, {}).status().message(),
              HasSubstr("XDG_CACHE_HOME"));
  setenv("HOME", saved.c_str(), 1);
}

TEST_F(ConversionCache, WhatIsWrongIsNamed) {
  testing::WriteFile(root_ / "file", "");
  EXPECT_THAT(ConvertCached(options_, {root_ / "file"}).status().message(),
              HasSubstr((root_ / "file").string()));
  options_.calibration.files = {root_ / "absent.txt"};
  EXPECT_THAT(ConvertCached(options_, {root_ / "cache"}).status().message(),
              HasSubstr("absent.txt"));
  options_.in = root_ / "no-model";
  EXPECT_THAT(ConvertCached(options_, {root_ / "cache"}).status().message(),
              HasSubstr("no-model"));
}

}  // namespace
}  // namespace mla::runtime

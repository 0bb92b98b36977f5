// Whole checkpoints: what comes along with the weights, and what damaged files
// do, which is never more than a status.
#include "runtime/loaded_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "runtime/verify/model_golden.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

namespace fs = std::filesystem;
using mla::testing::ReadFile;
using mla::testing::TestData;
using mla::testing::WriteFile;
using nlohmann::json;

// A copy of a golden checkpoint that a test may damage.
class Copy {
 public:
  explicit Copy(const std::string& name)
      : folder_(fs::path(::testing::TempDir()) /
                ("loaded_model_test_" + std::to_string(::getpid()) + name)) {
    fs::remove_all(folder_);
    fs::copy(TestData("models/" + name), folder_);
  }
  ~Copy() { fs::remove_all(folder_); }

  std::string path() const { return folder_.string(); }
  std::string File(const std::string& name) const {
    return (folder_ / name).string();
  }

 private:
  fs::path folder_;
};

absl::StatusOr<std::unique_ptr<LoadedModel>> Load(const std::string& path) {
  LoadOptions options;
  options.backend.threads = 1;
  options.model.max_step_tokens = 8;
  options.model.max_logit_rows = 2;
  return LoadedModel::Load(path, options);
}

TEST(LoadedModel, BringsTokenizerTemplateAndEndsOfSequence) {
  const auto model = Load(TestData("models/qwen2"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->name, "qwen2");
  ASSERT_NE((*model)->tokenizer, nullptr);
  EXPECT_TRUE((*model)->chat_template.ok()) << (*model)->chat_template.status();
  EXPECT_EQ((*model)->eos_token_ids, std::vector<int32_t>{1195});
  EXPECT_EQ((*model)->default_sampling.temperature, 1.0f);
}

TEST(LoadedModel, TakesSamplingDefaultsFromGenerationConfig) {
  Copy copy("qwen2");
  WriteFile(copy.File("generation_config.json"),
            R"({"temperature": 0.7, "top_p": 0.8, "top_k": 20,
                "repetition_penalty": 1.05, "eos_token_id": [1195, 1193]})");
  const auto model = Load(copy.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FLOAT_EQ((*model)->default_sampling.temperature, 0.7f);
  EXPECT_FLOAT_EQ((*model)->default_sampling.top_p, 0.8f);
  EXPECT_EQ((*model)->default_sampling.top_k, 20);
  EXPECT_EQ((*model)->eos_token_ids, (std::vector<int32_t>{1193, 1195}));
  WriteFile(copy.File("generation_config.json"), R"({"top_p": 2})");
  EXPECT_FALSE(Load(copy.path()).ok());
}

TEST(LoadedModel, ServesWithoutATokenizer) {
  Copy copy("qwen2");
  fs::remove(copy.File("tokenizer.json"));
  const auto model = Load(copy.path());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tokenizer, nullptr);
  EXPECT_TRUE(absl::IsNotFound((*model)->chat_template.status()));
}

TEST(LoadedModel, AGgufGivesWhatItsSourceGives) {
  LoadOptions options;
  options.model.weights_dtype = kernels::DType::kF32;
  auto model = LoadedModel::Load(TestData("gguf/llama_f16.gguf"), options);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->name, "llama_f16");
  Report report;
  ASSERT_TRUE(VerifyModelGolden(**model, TestData("models/llama_f16_sharded"),
                                {}, report)
                  .ok());
  EXPECT_GE(report.checks.size(), 18u);
  for (const Check& check : report.checks) {
    EXPECT_TRUE(check.passed()) << check.name << " " << check.error;
  }
}

TEST(LoadedModel, WeightsThatTheBackendHasNotAreRefused) {
  LoadOptions options;
  options.backend.name = "cpu-portable";
  options.model.weights_dtype = kernels::DType::kF8E4M3;
  const auto status =
      LoadedModel::Load(TestData("models/qwen2"), options).status();
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_EQ(status.message(),
            "weights in fp8_e4m3 on backend 'cpu-portable': it has bf16, "
            "q8_0, q4_1 and f32");
}

TEST(LoadedModel, UnknownBackendsAndPathsAreNamed) {
  LoadOptions options;
  options.backend.name = "tpu";
  const auto status =
      LoadedModel::Load(TestData("models/qwen2"), options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(std::string(status.message()).find("cpu-avx2"), std::string::npos);
  EXPECT_FALSE(Load("/nonexistent/model").ok());
  EXPECT_FALSE(Load(TestData("tokenizers")).ok());
}

TEST(LoadedModel, EveryConfigFieldMayBeWrong) {
  for (const char* name :
       {"qwen2", "mixtral", "deepseek_v2_lite", "minicpm3"}) {
    Copy copy(name);
    const json good = json::parse(ReadFile(copy.File("config.json")));
    const json wrong[] = {
        0,     -1,  1,       3,    1 << 19,       1 << 30,
        1e300, "x", nullptr, true, json::array(), json::object(),
        0.5};
    int refused = 0;
    for (const auto& [field, value] : good.items()) {
      for (const json& bad : wrong) {
        json config = good;
        config[field] = bad;
        WriteFile(copy.File("config.json"), config.dump());
        refused += !Load(copy.path()).ok();  // or it does not matter
      }
      json config = good;
      config.erase(field);
      WriteFile(copy.File("config.json"), config.dump());
      refused += !Load(copy.path()).ok();
    }
    EXPECT_GT(refused, static_cast<int>(good.size()) * 3) << name;
  }
}

TEST(LoadedModel, DamagedFilesAreRefusedOrHarmless) {
  Copy copy("mixtral");
  std::mt19937 random(4);
  for (const auto& entry : fs::directory_iterator(copy.path())) {
    const std::string file = entry.path().filename();
    if (file.starts_with("golden")) continue;
    const std::string good = ReadFile(copy.File(file));
    for (int round = 0; round < 40; ++round) {
      std::string bad = good;
      if (round % 4 == 0) {
        bad.resize(random() % good.size());
      } else {
        // Headers stand at the front.
        const size_t range = std::min<size_t>(good.size(), 8192);
        for (int i = 0; i < round % 4; ++i) {
          bad[random() % range] = static_cast<char>(random());
        }
      }
      WriteFile(copy.File(file), bad);
      (void)Load(copy.path());
    }
    WriteFile(copy.File(file), good);
  }
  EXPECT_TRUE(Load(copy.path()).ok());
}

TEST(LoadedModel, EveryGgufNumberMayBeWrong) {
  const std::string good = ReadFile(TestData("gguf/llama_f16.gguf"));
  const std::string path = (fs::path(::testing::TempDir()) /
                            ("wrong" + std::to_string(::getpid()) + ".gguf"))
                               .string();
  int refused = 0, tried = 0;
  for (const char* key :
       {"llama.context_length", "llama.embedding_length", "llama.block_count",
        "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.head_count_kv", "llama.rope.dimension_count",
        "llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
    const size_t at = good.find(std::string(key) + '\4') != std::string::npos
                          ? good.find(std::string(key) + '\4')
                          : good.find(std::string(key) + '\6');
    ASSERT_NE(at, std::string::npos) << key;
    for (uint32_t value :
         {0u, 1u, 2u, 7u, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0x7fc00000u}) {
      std::string bad = good;
      std::memcpy(&bad[at + std::strlen(key) + 4], &value, 4);
      WriteFile(path, bad);
      refused += !Load(path).ok();
      ++tried;
    }
  }
  EXPECT_GT(refused, tried / 2);
  fs::remove(path);
}

}  // namespace
}  // namespace mla::runtime

// `exact` changes nothing: the folders it writes give the source's logits and
// greedy tokens, and those that transformers gave of the source.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/convert/convert_model.h"
#include "runtime/verify/model_golden.h"
#include "runtime/verify/sequence_runner.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using kernels::DType;

// Of logits in float whose sums may be ordered differently.
constexpr double kTolerance = 1e-5;
constexpr int kPrompt = 40;
constexpr int kGenerated = 12;
const std::vector<std::string> kModels = {"llama_gqa_tied", "llama_f16_sharded",
                                          "qwen2", "qwen3", "mixtral"};

class ExactTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    out_ = std::filesystem::path(::testing::TempDir()) /
           ("exact_" + GetParam() + "_" + std::to_string(getpid()));
  }
  void TearDown() override { std::filesystem::remove_all(out_); }

  // The folder that the source becomes.
  std::string Convert(const std::string& source) {
    std::filesystem::remove_all(out_);
    ConvertOptions options;
    options.in = source;
    options.out = out_;
    const auto spec = ParseConversionSpec("exact:layout=" + GetParam());
    EXPECT_TRUE(spec.ok()) << spec.status();
    if (spec.ok()) options.spec = *spec;
    const absl::Status status = ConvertModel(options);
    EXPECT_TRUE(status.ok()) << source << ": " << status;
    return out_;
  }

  std::filesystem::path out_;
};

struct Outputs {
  std::vector<float> logits;  // of every position
  std::vector<int32_t> greedy;
};

Outputs OutputsOf(LoadedModel& loaded) {
  const int vocab = loaded.config.vocab_size;
  std::vector<int32_t> prompt;
  for (int i = 0; i < kPrompt; ++i) prompt.push_back((7 + 31 * i) % vocab);
  auto runner = SequenceRunner::Create(*loaded.model, DType::kF32, 16,
                                       kPrompt + kGenerated);
  EXPECT_TRUE(runner.ok()) << runner.status();
  Outputs out;
  const auto best = [&](const float* logits) {
    return static_cast<int32_t>(std::max_element(logits, logits + vocab) -
                                logits);
  };
  (*runner)->Prompt(prompt, 0, [&](int position, const float* logits) {
    out.logits.insert(out.logits.end(), logits, logits + vocab);
    if (position == kPrompt - 1) out.greedy = {best(logits)};
  });
  for (int i = 1; i < kGenerated; ++i) {
    const float* logits = (*runner)->Generate(out.greedy.back());
    out.logits.insert(out.logits.end(), logits, logits + vocab);
    out.greedy.push_back(best(logits));
  }
  return out;
}

void ExpectSame(const Outputs& found, const Outputs& source) {
  EXPECT_EQ(found.greedy, source.greedy);
  ASSERT_EQ(found.logits.size(), source.logits.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < source.logits.size(); ++i) {
    difference += std::pow(found.logits[i] - source.logits[i], 2);
    norm += std::pow(source.logits[i], 2);
  }
  EXPECT_LE(std::sqrt(difference), kTolerance * std::sqrt(norm));
}

TEST_P(ExactTest, EveryGqaFamilyStaysWhatItIs) {
  for (const std::string& source : mla::testing::GoldenModels(kModels)) {
    SCOPED_TRACE(source);
    const auto converted = mla::testing::LoadGolden(Convert(source));
    const auto original = mla::testing::LoadGolden(source);
    ASSERT_NE(converted, nullptr);
    EXPECT_EQ(converted->config.attention[0].single_latent,
              GetParam() == "single");
    ExpectSame(OutputsOf(*converted), OutputsOf(*original));
    Report report;
    const absl::Status status =
        VerifyModelGolden(*converted, source, {DType::kF32, 16}, report);
    ASSERT_TRUE(status.ok()) << status;
    for (const Check& check : report.checks) {
      EXPECT_TRUE(check.passed()) << check.name << ": error " << check.error
                                  << ", bound " << check.bound;
    }
  }
}

// Its rotated rows are pairs (2i, 2i+1), Hugging Face's (i, i + dim/2).
TEST_P(ExactTest, AGgufFileBecomesAFolder) {
  const std::string source = mla::testing::TestData("gguf/llama_f16.gguf");
  const auto converted = mla::testing::LoadGolden(Convert(source));
  const auto original = mla::testing::LoadGolden(source);
  ASSERT_NE(converted, nullptr);
  EXPECT_FALSE(converted->config.attention[0].rope_interleaved);
  ExpectSame(OutputsOf(*converted), OutputsOf(*original));
}

INSTANTIATE_TEST_SUITE_P(Layouts, ExactTest,
                         ::testing::Values("heads", "single"));

TEST(ExactConversion, WhatIsNoGqaIsRefused) {
  ConvertOptions options;
  options.in = mla::testing::GoldenModelsFolder() + "/minicpm3";
  options.out = ::testing::TempDir() + "/exact_minicpm3";
  options.spec = *ParseConversionSpec("exact");
  EXPECT_EQ(ConvertModel(options).code(), absl::StatusCode::kUnimplemented);
  EXPECT_FALSE(std::filesystem::exists(options.out));
}

}  // namespace
}  // namespace mla::runtime

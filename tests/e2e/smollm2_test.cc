// The real model: SmolLM2-135M-Instruct from its Q4_1 GGUF, which
// MLA_SMOLLM2_GGUF names (deploy/fetch_model.sh fetches it).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/convert/convert_model.h"
#include "runtime/loaded_model.h"
#include "runtime/text_model.h"
#include "runtime/tokenizer/tokenizer_files.h"
#include "runtime/verify/model_golden.h"
#include "runtime/verify/text_golden.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/test_files.h"

namespace mla::runtime {
namespace {

using kernels::DType;

std::string Gguf() {
  const char* path = std::getenv("MLA_SMOLLM2_GGUF");
  EXPECT_NE(path, nullptr) << "set MLA_SMOLLM2_GGUF to the GGUF file";
  return path == nullptr ? "" : path;
}

std::unique_ptr<LoadedModel> Load(DType weights) {
  LoadOptions options;
  options.model.weights_dtype = weights;
  auto model = LoadedModel::Load(Gguf(), options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string Golden(const std::string& name) {
  return mla::testing::SharedGolden().empty()
             ? mla::testing::TestData(name)
             : mla::testing::SharedGolden() + "/" + name;
}

void ExpectPassed(const Report& report) {
  for (const Check& check : report.checks) {
    EXPECT_TRUE(check.passed())
        << check.name << ": error " << check.error << ", bound " << check.bound
        << ", " << check.detail;
  }
}

TEST(SmolLm2, FloatMatchesTransformers) {
  const auto model = Load(DType::kF32);
  ASSERT_NE(model, nullptr);
  Report report;
  const absl::Status status =
      VerifyModelGolden(*model, Golden("smollm2"), {DType::kF32, 64}, report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(report.checks.size(), 15u);
  ExpectPassed(report);
}

// The folder that `exact` makes of the file is the same model.
TEST(SmolLm2, ExactlyConvertedItMatchesTransformersToo) {
  for (const char* method : {"exact", "exact:layout=single"}) {
    SCOPED_TRACE(method);
    ConvertOptions convert;
    convert.in = Gguf();
    convert.out = ::testing::TempDir() + "/smollm2_exact";
    std::filesystem::remove_all(convert.out);
    convert.spec = *ParseConversionSpec(method);
    const absl::Status converted = ConvertModel(convert);
    ASSERT_TRUE(converted.ok()) << converted;
    LoadOptions options;
    options.model.weights_dtype = DType::kF32;
    const auto model = LoadedModel::Load(convert.out, options);
    ASSERT_TRUE(model.ok()) << model.status();
    Report report;
    const absl::Status status = VerifyModelGolden(**model, Golden("smollm2"),
                                                  {DType::kF32, 64}, report);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(report.checks.size(), 15u);
    ExpectPassed(report);
    std::filesystem::remove_all(convert.out);
  }
}

void ExpectTextGoldens(const absl::StatusOr<TextModel>& text) {
  ASSERT_TRUE(text.ok()) << text.status();
  Report report;
  const absl::Status status =
      VerifyTextGoldens(*text, Golden("tokenizers"), report);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(report.checks.size(), 3u);
  ExpectPassed(report);
}

TEST(SmolLm2, TokenizerAndChatTemplateMatchHuggingFace) {
  ExpectTextGoldens(LoadTextModel(Gguf()));
}

TEST(SmolLm2, TokenizerAndChatTemplateMatchOnceWrittenAsItsFiles) {
  const auto checkpoint = Checkpoint::Open(Gguf());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto files = TokenizerFilesFromGguf(*(*checkpoint)->gguf());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->warning, "");
  ExpectTextGoldens(TextModelFromFolder(
      [&](const std::string& name) -> absl::StatusOr<std::string> {
        if (name == "tokenizer.json") return files->tokenizer_json;
        if (name == "tokenizer_config.json") {
          return files->tokenizer_config_json;
        }
        return absl::NotFoundError(name);
      }));
}

TEST(SmolLm2, TheSameRequestsGiveTheSameTokensAloneAndInAnyMix) {
  for (const DType weights : {DType::kBF16, DType::kQ8_0, DType::kQ4_1}) {
    SCOPED_TRACE(kernels::Name(weights));
    const auto model = Load(weights);
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->config.KvBytesPerToken(DType::kBF16), 30 * 2 * 3 * 64 * 2);
    mla::testing::ExpectSameTokensAloneAndInAnyMix(*model);
  }
}

}  // namespace
}  // namespace mla::runtime

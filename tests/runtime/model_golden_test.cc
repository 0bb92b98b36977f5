// Every model family against transformers' recorded outputs, on every CPU path.
#include "runtime/verify/model_golden.h"

#include <gtest/gtest.h>

#include "kernels/cpu/isa.h"
#include "tests/support/golden_models.h"

namespace mla::runtime {
namespace {

using kernels::DType;

Report Verify(const std::string& path, const std::string& backend,
              DType weights, DType kv, int block_tokens) {
  auto model = mla::testing::LoadGolden(path, weights, backend);
  std::unique_ptr<LoadedModel> in_float;
  VerifyOptions options{kv, block_tokens};
  if (model->config.Chooses() &&
      (weights != DType::kF32 || kv != DType::kF32)) {
    in_float = mla::testing::LoadGolden(path, DType::kF32, backend);
    options.routing = in_float->model.get();
  }
  Report report;
  const absl::Status status = VerifyModelGolden(*model, path, options, report);
  EXPECT_TRUE(status.ok()) << status;
  return report;
}

void ExpectPassed(const Report& report, size_t least) {
  EXPECT_GE(report.checks.size(), least);
  for (const Check& check : report.checks) {
    EXPECT_TRUE(check.passed())
        << check.name << ": error " << check.error << ", bound " << check.bound
        << ", " << check.detail;
  }
}

TEST(ModelGolden, FloatMatchesTransformersOnEveryCpuPath) {
  for (const std::string& path :
       mla::testing::GoldenModels(mla::testing::kFamilies)) {
    for (kernels::Isa isa : kernels::kAllIsas) {
      if (!kernels::IsSupported(isa)) continue;
      const std::string backend = std::string("cpu-") + kernels::Name(isa);
      SCOPED_TRACE(path + " on " + backend);
      // Six prompts with logits, top logits and greedy tokens, and activations
      // of two layers at least.
      ExpectPassed(Verify(path, backend, DType::kF32, DType::kF32, 64), 18 + 6);
    }
  }
}

TEST(ModelGolden, Bf16StaysWithinItsRounding) {
  for (const std::string& path :
       mla::testing::GoldenModels(mla::testing::kFamilies)) {
    SCOPED_TRACE(path);
    ExpectPassed(Verify(path, "cpu", DType::kBF16, DType::kBF16, 64), 18);
    ExpectPassed(Verify(path, "cpu", DType::kF32, DType::kBF16, 64), 18);
  }
}

TEST(ModelGolden, QuantisedWeightsStayWithinTheirRounding) {
  for (const std::string& path :
       mla::testing::GoldenModels(mla::testing::kFamilies)) {
    for (const DType weights : {DType::kQ8_0, DType::kQ4_1}) {
      for (const char* backend : {"cpu", "cpu-portable"}) {
        SCOPED_TRACE(path + " in " + kernels::Name(weights) + " on " + backend);
        ExpectPassed(Verify(path, backend, weights, DType::kBF16, 64), 18);
      }
    }
  }
}

TEST(ModelGolden, TheBlockSizeDoesNotMatter) {
  for (const std::string& path :
       mla::testing::GoldenModels(mla::testing::kFamilies)) {
    for (int block_tokens : {1, 16, 100}) {
      SCOPED_TRACE(path + " in blocks of " + std::to_string(block_tokens));
      ExpectPassed(Verify(path, "cpu", DType::kF32, DType::kF32, block_tokens),
                   18);
    }
  }
}

TEST(ModelGolden, AnotherModelsOutputsFail) {
  const auto models = mla::testing::GoldenModels(
      {"deepseek_v3_dense", "deepseek_v2_lite", "llama_f16_sharded", "qwen2"});
  auto model = mla::testing::LoadGolden(models.back());
  Report report;
  const absl::Status status =
      VerifyModelGolden(*model, models.front(), {}, report);
  EXPECT_TRUE(!status.ok() || !report.passed());
}

}  // namespace
}  // namespace mla::runtime

// Every model family against transformers' recorded outputs, through the whole
// CUDA backend executed on the host.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "runtime/verify/model_golden.h"
#include "tests/support/cuda_host/golden_on_host.h"

namespace mla::runtime {
namespace {

using kernels::DType;

class ModelGoldenCuda : public ::testing::TestWithParam<std::string> {
 protected:
  ModelGoldenCuda() {
    cuda_host::ResetDevice();
    // model_steps_cuda_test has it on; it takes half of the time.
    cuda_host::SetHostAccessTrap(false);
  }
};

// Returns the bytes that weights and activations take.
int64_t ExpectWithinItsRounding(const std::string& path, DType weights) {
  auto model = mla::testing::LoadOnHost(path, true, 24, 1, true, weights);
  if (model == nullptr) return 0;
  std::unique_ptr<LoadedModel> in_float;
  VerifyOptions options{DType::kBF16, 16};
  if (model->config.Chooses()) {
    in_float = mla::testing::LoadGolden(path, DType::kF32, "cpu");
    options.routing = in_float->model.get();
  }
  Report report;
  const absl::Status status = VerifyModelGolden(*model, path, options, report);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(model->model->status().ok())
      << model->model->status() << cuda_host::LastMessage()
      << cuda_host::LastKernelError() << cuda_host::LastGemmError();
  EXPECT_GE(report.checks.size(), 18u);
  for (const Check& check : report.checks) {
    EXPECT_TRUE(check.passed())
        << check.name << ": error " << check.error << ", bound " << check.bound
        << ", " << check.detail;
  }
  return model->model->backend().AllocatedBytes();
}

TEST_P(ModelGoldenCuda, StaysWithinItsRounding) {
  for (const std::string& path : mla::testing::GoldenModels({GetParam()})) {
    ExpectWithinItsRounding(path, DType::kBF16);
  }
}

// A checkpoint in fp8 is as exact in a byte a weight as in two.
TEST_F(ModelGoldenCuda, CodesOfACheckpointStayThem) {
  if (mla::testing::SharedGolden().empty()) GTEST_SKIP() << "a clone alone";
  const auto paths = mla::testing::GoldenModels({"deepseek_v3_fp8"});
  ASSERT_FALSE(paths.empty());
  const int64_t wide = ExpectWithinItsRounding(paths[0], DType::kBF16);
  EXPECT_LT(ExpectWithinItsRounding(paths[0], DType::kF8E4M3), wide);
}

// All, or of a clone alone those that are committed.
std::vector<std::string> Families() {
  std::vector<std::string> names = mla::testing::kFamilies;
  if (mla::testing::SharedGolden().empty()) {
    std::erase_if(names, [](const std::string& name) {
      return !std::filesystem::exists(mla::testing::GoldenModelsFolder() + "/" +
                                      name);
    });
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Families, ModelGoldenCuda,
                         ::testing::ValuesIn(Families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mla::runtime

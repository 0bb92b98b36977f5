// Models divided among GPUs, executed on the host: in the bounds of one, and a
// GPU that fails holds up nobody. That batches, pieces and recorded steps give
// the same bits is model_steps_cuda_test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "cuda_host/control.h"
#include "runtime/verify/model_golden.h"
#include "tests/support/cuda_host/golden_on_host.h"
#include "tests/support/engine_fixture.h"

namespace mla::runtime {
namespace {

using kernels::DType;
using mla::testing::EngineFixture;
using mla::testing::GoldenModels;
using mla::testing::Sink;
using ::testing::HasSubstr;

class TensorParallelCuda : public ::testing::Test {
 protected:
  TensorParallelCuda() { Restart(4); }
  static void Restart(int devices) {
    cuda_host::ResetDevice();
    cuda_host::SetDeviceCount(devices);
    cuda_host::SetHostAccessTrap(false);
  }
  static std::unique_ptr<LoadedModel> Load(const std::string& name, int ranks,
                                           int step_tokens = 24) {
    const auto paths = GoldenModels({name});
    if (paths.empty()) return nullptr;
    return mla::testing::LoadOnHost(paths[0], /*record=*/true, step_tokens,
                                    ranks);
  }
  static absl::Status LoadStatus(const std::string& name, int ranks) {
    LoadOptions options;
    options.backend.name = kCudaBackendName;
    options.backend.ranks = ranks;
    return LoadedModel::Load(GoldenModels({name})[0], options).status();
  }
};

TEST_F(TensorParallelCuda, FamiliesStayWithinTheirRounding) {
  std::vector<std::pair<std::string, int>> settings = {
      {"qwen2", 4}, {"mixtral", 2}, {"deepseek_v2_lite", 2}};
  if (std::getenv("MLA_SOAK") != nullptr) {
    settings.insert(settings.end(), {{"qwen2", 2},
                                     {"minicpm3", 4},
                                     {"longcat_flash", 2},
                                     {"deepseek_v32_sparse", 2}});
  }
  for (const auto& [name, ranks] : settings) {
    for (const std::string& path : GoldenModels({name})) {
      SCOPED_TRACE(path + " on " + std::to_string(ranks));
      Restart(ranks);
      const auto model = Load(name, ranks);
      ASSERT_NE(model, nullptr);
      std::unique_ptr<LoadedModel> in_float;
      VerifyOptions options{DType::kBF16, 16};
      if (model->config.Chooses()) {
        in_float = mla::testing::LoadGolden(path);
        options.routing = in_float->model.get();
      }
      Report report;
      const absl::Status status =
          VerifyModelGolden(*model, path, options, report);
      ASSERT_TRUE(status.ok())
          << status << cuda_host::LastMessage() << cuda_host::LastKernelError();
      EXPECT_GE(report.checks.size(), 18u);
      for (const Check& check : report.checks) {
        EXPECT_TRUE(check.passed())
            << check.name << ": error " << check.error << ", bound "
            << check.bound << ", " << check.detail;
      }
      EXPECT_GT(cuda_host::ExecutedLaunches("SumPartsKernel"), 0);
      if (in_float == nullptr) {  // else no step is the same again
        EXPECT_GT(cuda_host::GetCounters().graph_launches, 0);
      }
    }
  }
}

TEST_F(TensorParallelCuda, TokensAreTheSameAloneAndInAnyMix) {
  const auto model = Load("qwen2", 2, 64);
  ASSERT_NE(model, nullptr);
  mla::testing::ExpectSameTokensAloneAndInAnyMix(*model);
  EXPECT_GT(cuda_host::GetCounters().graph_launches, 0);
}

TEST_F(TensorParallelCuda, GpusThatAreNotThereAreMissed) {
  Restart(1);
  const absl::Status status = LoadStatus("qwen2", 2);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(status.message(), "CUDA device 1 is not there: this machine has 1");
  EXPECT_EQ(cuda_host::GetCounters().device_bytes, 0);
}

TEST_F(TensorParallelCuda, ACommunicatorThatCannotBeMadeIsTold) {
  cuda_host::FailCall(1, cudaErrorUnknown, "ncclCommInitAll");
  const absl::Status status = LoadStatus("qwen2", 2);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("ncclCommInitAll"));
}

// One GPU's share of each block, on every GPU.
TEST_F(TensorParallelCuda, ACacheOfNoSizeTakesWhatIsFreeOnAll) {
  cuda_host::SetDeviceMemory(size_t{128} << 20);
  const auto model = Load("qwen2", 2, 64);
  ASSERT_NE(model, nullptr);
  const int64_t available = model->model->DefaultCacheBytes();
  EXPECT_GT(available, int64_t{64} << 20);
  EngineFixture f(*model, 64);
  f.options.kv_cache_bytes = 0;
  f.Start();
  const CacheStats c = f.engine->Stats().cache;
  EXPECT_LE(c.total_blocks * c.block_bytes, available);
  EXPECT_GT(c.total_blocks * c.block_bytes, available * 8 / 10);
}

// Whatever fails on one GPU, as it runs or when it is asked to, in recorded
// work or not: the others do not wait for it, and all requests end.
TEST_F(TensorParallelCuda, AGpuThatFailsEndsEverything) {
  for (int kind = 0; kind < 5; ++kind) {
    for (const bool record : {false, true}) {
      SCOPED_TRACE(kind + (record ? 10 : 0));
      Restart(2);
      const auto paths = GoldenModels({"qwen2"});
      const auto model = mla::testing::LoadOnHost(paths[0], record, 64, 2);
      ASSERT_NE(model, nullptr);
      EngineFixture f(*model, 512);
      absl::Notification failed;
      f.options.on_failure = [&](const absl::Status& why) {
        EXPECT_TRUE(absl::IsUnavailable(why)) << why;
        failed.Notify();
      };
      f.Start();
      ASSERT_TRUE(f.Submit(f.MakeRequest("before", 0, 20, 12))->Wait().ok());
      if (kind == 0) cuda_host::FailKernel(40);
      if (kind == 1) cuda_host::FailLaunch(40, cudaErrorLaunchOutOfResources);
      if (kind == 2) cuda_host::FailMatmul(5, CUBLAS_STATUS_EXECUTION_FAILED);
      if (kind == 3) {
        cuda_host::FailCall(3, cudaErrorIllegalAddress, "ncclAllGather");
      }
      if (kind == 4) {
        cuda_host::FailCall(2, cudaErrorIllegalAddress,
                            record ? "cudaGraphLaunch" : "cudaMemcpyAsync");
      }
      std::vector<Sink> sinks;
      for (int i = 0; i < 3; ++i) {
        sinks.push_back(
            f.Submit(f.MakeRequest(absl::StrCat("r", i), i, 20, 40)));
      }
      for (const Sink& sink : sinks) {
        const absl::Status status = sink->Wait();
        EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      }
      failed.WaitForNotification();
      EXPECT_FALSE(f.engine->status().ok());
    }
  }
}

}  // namespace
}  // namespace mla::runtime

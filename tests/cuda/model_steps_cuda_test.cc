// Steps of whole models through the CUDA backend, executed on the host: what is
// recorded and replayed, batched or cut gives the bits that it gives otherwise,
// and everything of it runs on the device.
#include <gtest/gtest.h>

#include <atomic>

#include "cuda_host/control.h"
#include "kernels/cpu/inner_kernels.h"
#include "runtime/cpu_backend.h"
#include "tests/support/cuda_host/golden_on_host.h"

namespace {

std::atomic<int> cpu_kernels_asked_for = 0;

}  // namespace

// The linker sends every call of GetInnerKernels here: all kernels of the CPU
// and the reference are reached through what it returns.
extern "C" {
const mla::kernels::InnerKernels*  // a reference, in C's words
__real__ZN3mla7kernels15GetInnerKernelsENS0_3IsaE(mla::kernels::Isa isa);
const mla::kernels::InnerKernels*
__wrap__ZN3mla7kernels15GetInnerKernelsENS0_3IsaE(mla::kernels::Isa isa) {
  ++cpu_kernels_asked_for;
  return __real__ZN3mla7kernels15GetInnerKernelsENS0_3IsaE(isa);
}
}

namespace mla::runtime {
namespace {

using cuda_host::GetCounters;
using kernels::DType;

// A model, and the GPUs that share it.
struct Setting {
  const char* model;
  int ranks;
};

class ModelStepsCuda : public ::testing::TestWithParam<Setting> {
 protected:
  ModelStepsCuda() { Restart(); }
  void SetUp() override {
    int devices = 0;
    cudaGetDeviceCount(&devices);
    if (devices < GetParam().ranks) GTEST_SKIP() << devices << " GPUs";
  }
  static void Restart() {
    cuda_host::ResetDevice();
    cuda_host::SetDeviceCount(GetParam().ranks);
    // Ranks ask for their streams all the time, and each time memory would be
    // opened and closed.
    cuda_host::SetHostAccessTrap(GetParam().ranks == 1);
    cpu_kernels_asked_for = 0;
  }

  std::unique_ptr<LoadedModel> Load(bool record) {
    const auto paths = mla::testing::GoldenModels({GetParam().model});
    if (paths.empty()) return nullptr;
    auto loaded =
        mla::testing::LoadOnHost(paths[0], record, 24, GetParam().ranks);
    if (loaded == nullptr) return nullptr;
    const absl::Status status = loaded->model->AllocateCache(
        DType::kBF16, loaded->config.RoundBlockTokens(16), 32);
    EXPECT_TRUE(status.ok()) << status;
    return loaded;
  }
};

// A sequence as the scheduler has it.
struct Sequence {
  std::vector<int32_t> tokens, blocks;
  int done = 0;  // tokens computed
};

std::vector<int32_t> Tokens(int count, int seed, int vocabulary) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back((i * 37 + seed * 101 + i * i) % vocabulary);
  }
  return tokens;
}

// One step: `generated` sequences' last tokens, and so many more of `prompt`'s.
// Logits of each sequence's last row, in that order.
std::vector<std::vector<float>> Step(LoadedModel& loaded,
                                     std::vector<Sequence*> generated,
                                     Sequence* prompt = nullptr,
                                     int count = 0) {
  StepBatch batch;
  const auto add = [&](Sequence& s, int rows, std::vector<StepSpan>& spans) {
    spans.push_back(
        {{batch.num_tokens(), rows, s.done, s.blocks.data(), s.tokens.data()},
         false});
    batch.tokens.insert(batch.tokens.end(), s.tokens.begin() + s.done,
                        s.tokens.begin() + s.done + rows);
    s.done += rows;
    batch.logit_rows.push_back(batch.num_tokens() - 1);
  };
  for (Sequence* s : generated) add(*s, 1, batch.generated);
  if (prompt != nullptr) add(*prompt, count, batch.prompt);
  const Rows logits = loaded.model->Forward(batch);
  EXPECT_TRUE(loaded.model->status().ok())
      << loaded.model->status() << cuda_host::LastKernelError()
      << cuda_host::LastGemmError();
  std::vector<std::vector<float>> found;
  for (int i = 0; i < logits.rows; ++i) {
    found.emplace_back(logits[i], logits[i] + logits.cols);
  }
  return found;
}

TEST_P(ModelStepsCuda, ReplayedStepsGiveTheBitsOfCalledOnes) {
  std::vector<std::vector<float>> first;
  for (const bool record : {false, true}) {
    auto loaded = Load(record);
    ASSERT_NE(loaded, nullptr);
    Sequence s{Tokens(24, 1, loaded->config.vocab_size), {7, 3, 9}};
    std::vector<std::vector<float>> logits;
    for (auto& l : Step(*loaded, {}, &s, 11)) logits.push_back(std::move(l));
    while (s.done < 20) {  // over a border of blocks
      for (auto& l : Step(*loaded, {&s})) logits.push_back(std::move(l));
    }
    const cuda_host::Counters c = GetCounters();
    // Nine steps: the first learns which plans there are, the second is the
    // first that has them from the start, the third is recorded.
    if (cuda_host::kCounts) {
      EXPECT_EQ(c.graph_launches, record ? 7 * GetParam().ranks : 0);
    }
    // All that was asked for ran, on the device and nowhere else.
    EXPECT_EQ(c.launches_executed > 0, cuda_host::kCounts);
    EXPECT_EQ(c.launches_executed, c.launches_enqueued);
    EXPECT_EQ(c.matmuls_executed > 0, cuda_host::kCounts);
    EXPECT_EQ(c.matmuls_executed, c.matmuls_enqueued);
    EXPECT_EQ(cpu_kernels_asked_for, 0);
    for (const cuda_host::KernelCount& kernel : cuda_host::Kernels()) {
      EXPECT_EQ(kernel.executed, kernel.enqueued) << kernel.name;
    }
    if (first.empty()) first = logits;
    EXPECT_EQ(logits, first);
    loaded.reset();
    EXPECT_EQ(GetCounters().device_bytes, 0);
    EXPECT_EQ(GetCounters().pinned_allocations, 0);
    EXPECT_EQ(GetCounters().graphs, 0);
    EXPECT_EQ(GetCounters().cublaslt_objects, 0);
    Restart();
  }
}

// What a sequence gives is its own affair: computed alone and whole, or with
// another beside it and its prompt in pieces.
TEST_P(ModelStepsCuda, BatchesAndPiecesDoNotChangeABit) {
  auto loaded = Load(/*record=*/true);
  ASSERT_NE(loaded, nullptr);
  const int vocabulary = loaded->config.vocab_size;
  Sequence alone{Tokens(40, 1, vocabulary), {1, 2, 3}};
  std::vector<std::vector<float>> expected;
  expected.push_back(Step(*loaded, {}, &alone, 21)[0]);
  for (int i = 0; i < 5; ++i) expected.push_back(Step(*loaded, {&alone})[0]);

  Sequence other{Tokens(40, 2, vocabulary), {10, 11, 12}};
  Sequence a{alone.tokens, {6, 4, 5}};
  Step(*loaded, {}, &other, 9);
  Step(*loaded, {&other}, &a, 13);
  std::vector<std::vector<float>> found;
  found.push_back(Step(*loaded, {&other}, &a, 8)[1]);
  for (int i = 0; i < 3; ++i) found.push_back(Step(*loaded, {&other, &a})[1]);
  for (int i = 0; i < 2; ++i) found.push_back(Step(*loaded, {&a, &other})[0]);
  EXPECT_EQ(found, expected);
}

TEST_P(ModelStepsCuda, CopiedBlocksHoldTheSame) {
  auto loaded = Load(/*record=*/false);
  ASSERT_NE(loaded, nullptr);
  Sequence a{Tokens(20, 1, loaded->config.vocab_size), {1, 2}};
  Step(*loaded, {}, &a, 17);
  loaded->model->CopyBlock(1, 8);
  loaded->model->CopyBlock(2, 9);
  Sequence copy = a;
  copy.blocks = {8, 9};
  EXPECT_EQ(Step(*loaded, {&copy}), Step(*loaded, {&a}));
}

// That the count above would notice.
TEST(CpuKernels, AreCounted) {
  cpu_kernels_asked_for = 0;
  NewCpuBackend(kernels::Isa::kPortable, 1);
  EXPECT_EQ(cpu_kernels_asked_for, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Families, ModelStepsCuda,
    ::testing::Values(Setting{"llama_f16_sharded", 1}, Setting{"mixtral", 1},
                      Setting{"deepseek_v2_lite", 1},
                      Setting{"deepseek_v3_fp8", 1}, Setting{"minicpm3", 1},
                      Setting{"mixtral", 2}, Setting{"deepseek_v2_lite", 2},
                      Setting{"qwen2", 4}, Setting{"minicpm3", 4}),
    [](const auto& info) {
      std::string name = info.param.model;
      if (info.param.ranks > 1) {
        name += "_on_" + std::to_string(info.param.ranks);
      }
      return name;
    });

}  // namespace
}  // namespace mla::runtime

// A layer's attention as the backend runs it, on the stand-ins: many heads of a
// latent as wide as DeepSeek's, by Hopper's kernel where the device has it.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda_host/attention_case.h"
#include "cuda_host/control.h"
#include "runtime/cuda/attention.h"

namespace mla::runtime {
namespace {

using cuda_host::AttentionCase;
using kernels::MlaLayout;

constexpr int kHeads = 64, kKey = 576, kValue = 512;

class BackendAttention : public ::testing::Test {
 protected:
  // Results of one layer whose queries are in the latent: [rows, heads, 512].
  static std::vector<float> Attend(const AttentionCase& c, int capability) {
    cuda_host::ResetDevice();
    cuda_host::SetCapability(capability);
    auto device = Device::Open(0);
    if (!device.ok()) {
      ADD_FAILURE() << device.status();
      return {};
    }
    std::vector<float> out;
    Attend(c, **device, &out);
    EXPECT_TRUE((*device)->ok())
        << (*device)->status() << cuda_host::LastKernelError();
    return out;
  }

 private:
  static void Attend(const AttentionCase& c, Device& device,
                     std::vector<float>* out) {
    Gemm gemm(device);
    StepArena arena(device);
    CudaOptions options;
    options.thread_blocks = 3;
    CudaAttention attention(device, gemm, arena, options);
    DeviceBuffer cache(device), q(device), results(device);
    auto* rows = cache.Reserve<unsigned char>(c.cache.size());
    auto* queries = q.Reserve<float>(c.q.size());
    const size_t count = size_t(c.rows) * kHeads * kValue;
    auto* to = results.Reserve<float>(count);
    std::vector<float> floats;
    for (const kernels::bf16_t x : c.q) {
      floats.push_back(kernels::FromBF16(x));
    }
    ASSERT_EQ(cudaMemcpy(rows, c.cache.data(), c.cache.size(),
                         cudaMemcpyHostToDevice),
              cudaSuccess);
    ASSERT_EQ(cudaMemcpy(queries, floats.data(), floats.size() * 4,
                         cudaMemcpyHostToDevice),
              cudaSuccess);

    StepBatch batch;
    batch.tokens.assign(c.rows, 0);
    for (const auto& s : c.spans) {
      batch.generated.push_back(
          {{s.first_row, s.num_rows, s.first_position,
            &c.block_tables[s.block_table], batch.tokens.data()},
           false});
    }
    const CudaStep step = MakeCudaStep(batch, {}, c.block_rows, arena);
    attention.BeginStep(step, {});
    arena.Upload();
    AttentionWeights weights;
    weights.layout = c.layout;
    weights.scale = static_cast<float>(c.scale);
    const int64_t block_bytes = int64_t{c.block_rows} * c.row_bytes();
    attention.Attend(step,
                     {weights,
                      {rows, block_bytes, c.block_rows, 1, c.format()},
                      nullptr,
                      nullptr,
                      {queries, c.rows, kHeads * kKey, size_t{kHeads * kKey}},
                      {to, c.rows, kHeads * kValue, size_t{kHeads * kValue}}});
    device.Synchronize();
    out->resize(count);
    ASSERT_EQ(cudaMemcpy(out->data(), to, count * 4, cudaMemcpyDeviceToHost),
              cudaSuccess);
  }
};

TEST_F(BackendAttention, ManyHeadsOfALatentRunOnHoppersKernel) {
  AttentionCase c;
  c.layout = MlaLayout(kHeads, kValue, kKey - kValue);
  c.scale = 1 / std::sqrt(192.0);
  c.Fill({{1, 300}, {1, 0}, {1, 63}, {1, 64}}, 5);
  const AttentionCase::Answer answer = c.Solve(/*stored_as_bf16=*/false);
  for (const int capability : {9, 10}) {
    const std::vector<float> found = Attend(c, capability);
    ASSERT_EQ(found.size(), answer.value.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_LE(std::fabs(found[i] - answer.value[i]), answer.bound[i]) << i;
    }
    EXPECT_EQ(cuda_host::ExecutedLaunches("HopperAttentionKernel"),
              capability == 9 ? 1 : 0);
  }
}

// A request's bits are its own: alone, and beside others.
TEST_F(BackendAttention, ARequestsBitsAreItsOwn) {
  AttentionCase c;
  c.layout = MlaLayout(kHeads, kValue, kKey - kValue);
  c.Fill({{1, 300}, {1, 90}, {1, 5}}, 6);
  const std::vector<float> all = Attend(c, 9);
  AttentionCase alone = c;
  alone.spans.resize(1);
  const std::vector<float> one = Attend(alone, 9);
  const size_t row = size_t{kHeads} * kValue;
  EXPECT_TRUE(std::equal(one.begin(), one.begin() + row, all.begin()));
}

}  // namespace
}  // namespace mla::runtime

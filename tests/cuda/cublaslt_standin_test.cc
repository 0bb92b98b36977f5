// The stand-in of cuBLASLt: its products, and when they are computed. Bounds:
// tests/support/cuda_host/matmul_fixture.h.
#include <cublasLt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/matmul_fixture.h"

namespace cuda_host::matmul {
namespace {

using testing::HasSubstr;

class CublasLtStandin : public MatmulFixture {
 protected:
  // Alpha times x times 1, as the case has it done.
  float One(Case c, float x) {
    c.m = c.n = c.k = 1;
    Prepare(c);
    Choose(c);
    const bool is_bf16 = c.a.type == CUDA_R_16BF;
    for (auto [p, value] : {std::pair(c.a.p, x), std::pair(c.b.p, 1.0f)}) {
      const uint16_t narrow = ToBf16(value);
      cudaMemcpy(p, is_bf16 ? static_cast<const void*>(&narrow) : &value,
                 c.a.element(), cudaMemcpyHostToDevice);
    }
    EXPECT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS) << LastGemmError();
    Release(c);
    return Download(c.d)[0];
  }
};

// ---- values

TEST_F(CublasLtStandin, ProductsAreThoseOfANaiveLoop) {
  for (int types = 0; types < 3; ++types) {
    for (int turns = 0; turns < 4; ++turns) {
      for (auto [m, n, k] : {std::array{1, 1, 1}, std::array{64, 1, 33},
                             std::array{65, 7, 128}, std::array{3, 130, 70}}) {
        Case c =
            types == 0 ? Case() : Bf16(types == 1 ? CUDA_R_16BF : CUDA_R_32F);
        c.m = m;
        c.n = n;
        c.k = k;
        c.turn_a = turns % 2 == 1;
        c.turn_b = turns / 2 == 1;
        Check(c);
      }
    }
  }
}

TEST_F(CublasLtStandin, ScalarsBiasAndC) {
  for (float beta : {0.0f, 0.5f}) {
    for (bool bias : {false, true}) {
      Case c = Bf16(CUDA_R_32F);
      c.alpha = -1.5f;
      c.beta = beta;
      c.bias = bias;
      Check(c);
      Case narrow = Bf16();
      narrow.beta = beta;
      narrow.bias = bias;
      Check(narrow);
    }
  }
}

TEST_F(CublasLtStandin, CMayBeD) {
  Case c;
  c.beta = 2;
  c.change = [](Case& x) { x.c.p = x.d.p; };
  SetShapes(c);
  Prepare(c);
  Choose(c);
  c.change(c);
  c.c.values = c.d.values;
  ASSERT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS) << LastGemmError();
  Compare(c);
  Release(c);
}

TEST_F(CublasLtStandin, RowsApartAndInRowOrder) {
  for (int orders = 0; orders < 8; ++orders) {
    Case c = Bf16();
    c.a.order = orders & 1;
    c.b.order = orders >> 1 & 1;
    c.c.order = c.d.order = orders >> 2 & 1;
    c.a.ld = 48;
    c.b.ld = 56;
    c.c.ld = 32;
    c.d.ld = 40;
    Check(c);
  }
}

TEST_F(CublasLtStandin, BatchesByStride) {
  Case c = Bf16();
  c.a.batch = c.b.batch = c.c.batch = c.d.batch = 3;
  c.a.stride = c.m * c.k + 8;
  c.b.stride = 0;  // one for all
  c.c.stride = c.d.stride = c.m * c.n;
  Check(c);
}

// Heads of a row side by side: the batch is woven into the leading dimension.
TEST_F(CublasLtStandin, BatchesWovenIntoEachOther) {
  Case c = Bf16();
  c.a.batch = c.b.batch = c.c.batch = c.d.batch = 4;
  c.turn_a = true;
  c.a.stride = c.k * c.m;
  c.b.stride = c.k;
  c.b.ld = 4 * c.k;
  c.c.stride = c.d.stride = c.m;
  c.c.ld = c.d.ld = 4 * c.m;
  Check(c);
}

TEST_F(CublasLtStandin, FastComputeRoundsItsInputs) {
  Case c;
  c.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  Check(c);
  c.compute = CUBLAS_COMPUTE_32F_FAST_16BF;
  Check(c);
  // TF32 keeps 10 bits.
  EXPECT_EQ(One(Case(), 1 + 0x1p-12f), 1 + 0x1p-12f);
  c.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  EXPECT_EQ(One(c, 1 + 0x1p-12f), 1.0f);
  EXPECT_EQ(One(c, 1 + 0x1.8p-11f), 1 + 0x1p-10f);
}

TEST_F(CublasLtStandin, ResultsAreRoundedToNearestTiesToEven) {
  Case c = Bf16();
  for (auto [exact, rounded] :
       {std::array{1 + 0x1p-8f, 1.0f}, std::array{1 + 0x1.8p-7f, 1 + 0x1p-6f},
        std::array{1 + 0x1.01p-8f, 1 + 0x1p-7f}}) {
    c.alpha = exact;
    EXPECT_EQ(One(c, 1), rounded);
  }
}

TEST_F(CublasLtStandin, ScalarsMayBeOnTheDevice) {
  Case c;
  c.alpha = 3;
  c.beta = 0.25f;
  c.pointer_mode = CUBLASLT_POINTER_MODE_DEVICE;
  c.change = [](Case& x) {
    float* scalars = nullptr;
    cudaMalloc(&scalars, 8);
    cudaMemcpy(scalars, &x.alpha, 4, cudaMemcpyHostToDevice);
    cudaMemcpy(scalars + 1, &x.beta, 4, cudaMemcpyHostToDevice);
    x.alpha_p = scalars;
    x.beta_p = scalars + 1;
  };
  Check(c);
  c.change = [](Case&) {};
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("alpha or beta"));
}

TEST_F(CublasLtStandin, SumsDependOnTheShapeUnlessTold) {
  // One column alone, and the same column among others.
  auto first_column = [&](int n, bool split) {
    cuda_host::SetGemmSplitByShape(split);
    random_.seed(3);
    Case c;
    c.m = 64;
    c.n = n;
    c.k = 500;
    SetShapes(c);
    Prepare(c);
    // B by itself, so that it is the same in every case.
    std::mt19937 random(5);
    std::vector<float> b(c.k);
    for (float& x : b) x = std::normal_distribution<float>()(random);
    cudaMemcpy(c.b.p, b.data(), 4 * b.size(), cudaMemcpyHostToDevice);
    Choose(c);
    EXPECT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS);
    std::vector<float> d = Download(c.d);
    Release(c);
    d.resize(64);
    return d;
  };
  bool differs = false;
  for (int n = 2; n < 8; ++n) {
    EXPECT_EQ(first_column(1, false), first_column(n, false));
    differs |= first_column(1, true) != first_column(n, true);
  }
  EXPECT_TRUE(differs);
}

// ---- when it runs

TEST_F(CublasLtStandin, AMatmulIsWorkOfItsStream) {
  Case c;
  cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking);
  Prepare(c);
  Choose(c);
  ASSERT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(GetCounters().matmuls_enqueued, 1);
  EXPECT_EQ(GetCounters().matmuls_executed, 0);
  EXPECT_EQ(cudaStreamSynchronize(c.stream), cudaSuccess);
  EXPECT_EQ(GetCounters().matmuls_executed, 1);
  Compare(c);
  Release(c);
}

TEST_F(CublasLtStandin, AMatmulIsCaptured) {
  Case c;
  cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking);
  Prepare(c);
  Choose(c);
  cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeGlobal);
  ASSERT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS) << LastGemmError();
  c.alpha = 100;  // read at the call
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaStreamEndCapture(c.stream, &graph), cudaSuccess);
  cudaGraphInstantiate(&exec, graph);
  EXPECT_EQ(GetCounters().matmuls_enqueued, 0);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(exec, c.stream);
  EXPECT_EQ(cudaStreamSynchronize(c.stream), cudaSuccess);
  EXPECT_EQ(GetCounters().matmuls_executed, 3);
  c.alpha = 1;
  Compare(c);
  Release(c);
}

TEST_F(CublasLtStandin, OperandsMustBeThereWhenItRuns) {
  Case c;
  cudaStreamCreateWithFlags(&c.stream, cudaStreamNonBlocking);
  Prepare(c);
  Choose(c);
  cudaStreamBeginCapture(c.stream, cudaStreamCaptureModeGlobal);
  Multiply(c);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaStreamEndCapture(c.stream, &graph);
  cudaGraphInstantiate(&exec, graph);
  cudaFree(c.b.p);
  cudaGraphLaunch(exec, c.stream);
  EXPECT_EQ(cudaStreamSynchronize(c.stream), cudaErrorIllegalAddress);
  EXPECT_THAT(cuda_host::LastKernelError(),
              HasSubstr("cublasLtMatmul, m = 24"));
  EXPECT_EQ(Multiply(c), CUBLAS_STATUS_EXECUTION_FAILED);
  Release(c);
}

TEST_F(CublasLtStandin, TheWorkspaceIsWritten) {
  Case c;
  Prepare(c);
  Choose(c);
  ASSERT_GT(c.chosen.workspaceSize, 0u);
  cudaMemset(c.workspace, 0, kWorkspace);
  ASSERT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS);
  std::vector<char> bytes(kWorkspace);
  cudaMemcpy(bytes.data(), c.workspace, kWorkspace, cudaMemcpyDeviceToHost);
  EXPECT_NE(bytes[0], 0);
  EXPECT_EQ(bytes[c.chosen.workspaceSize], 0);
  Release(c);
}

TEST_F(CublasLtStandin, FailuresCanBeAskedFor) {
  cuda_host::FailMatmul(1, CUBLAS_STATUS_ALLOC_FAILED);
  EXPECT_EQ(Status(Case()), CUBLAS_STATUS_ALLOC_FAILED);
  EXPECT_EQ(Status(Case()), CUBLAS_STATUS_SUCCESS);
}

TEST_F(CublasLtStandin, NothingIsLeft) {
  const int64_t before = GetCounters().cublaslt_objects;
  Check(Case());
  EXPECT_EQ(GetCounters().cublaslt_objects, before);
}

TEST_F(CublasLtStandin, WithoutADeviceThereIsNoHandle) {
  cuda_host::SetDeviceCount(0);
  cublasLtHandle_t handle;
  EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_NOT_INITIALIZED);
}

}  // namespace
}  // namespace cuda_host::matmul

// The stand-in of cuBLASLt: every rule that it holds its callers to.
#include <cublasLt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/matmul_fixture.h"

namespace cuda_host::matmul {
namespace {

using testing::HasSubstr;

// ---- shapes and types

class CublasLtRules : public MatmulFixture {
 protected:
  // What the heuristic and the matmul both say to a change of descriptors.
  void ExpectRefused(const std::string& why, cublasStatus_t status, Case c,
                     const std::function<void(Case&)>& change) {
    Prepare(c);
    Choose(c);
    EXPECT_EQ(c.heuristic_status, CUBLAS_STATUS_SUCCESS) << LastGemmError();
    change(c);
    EXPECT_EQ(Multiply(c), status) << why;
    EXPECT_THAT(LastGemmError(), HasSubstr(why));
    c.algos = -1;
    Choose(c);
    EXPECT_EQ(c.heuristic_status, status) << why;
    EXPECT_EQ(c.algos, 0);
    Release(c);
  }
};

TEST_F(CublasLtRules, ShapesMustAgree) {
  constexpr auto kInvalid = CUBLAS_STATUS_INVALID_VALUE;
  ExpectRefused("op(A) is 24 by 40, op(B) 39 by 16", kInvalid, Case(),
                [](Case& c) {
                  SetLayout(c.b, CUBLASLT_MATRIX_LAYOUT_ROWS, uint64_t{39});
                });
  ExpectRefused("op(A) is 40 by 24", kInvalid, Case(), [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_TRANSA, int32_t{CUBLAS_OP_T});
  });
  ExpectRefused("D 23 by 16", kInvalid, Case(), [](Case& c) {
    SetLayout(c.d, CUBLASLT_MATRIX_LAYOUT_ROWS, uint64_t{23});
  });
  ExpectRefused("C is 24 by 15", kInvalid, Case(), [](Case& c) {
    SetLayout(c.c, CUBLASLT_MATRIX_LAYOUT_COLS, uint64_t{15});
  });
  ExpectRefused("leading dimension 23 of 24", kInvalid, Case(), [](Case& c) {
    SetLayout(c.a, CUBLASLT_MATRIX_LAYOUT_LD, int64_t{23});
  });
  ExpectRefused("B: 0 by 16", kInvalid, Case(), [](Case& c) {
    SetLayout(c.b, CUBLASLT_MATRIX_LAYOUT_ROWS, uint64_t{0});
  });
  ExpectRefused("batches of 2, 1, 1, 1", kInvalid, Case(), [](Case& c) {
    SetLayout(c.a, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32_t{2});
  });
  ExpectRefused("overlaps itself", kInvalid, Case(), [](Case& c) {
    for (Matrix* x : {&c.a, &c.b, &c.c, &c.d}) {
      SetLayout(*x, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, int32_t{2});
    }
  });
}

TEST_F(CublasLtRules, TypesMustBeThoseOfAKernel) {
  constexpr auto kNo = CUBLAS_STATUS_NOT_SUPPORTED;
  auto type = [](Matrix Case::*x, cudaDataType_t t) {
    return [=](Case& c) {
      SetLayout(c.*x, CUBLASLT_MATRIX_LAYOUT_TYPE, uint32_t(t));
    };
  };
  ExpectRefused("A is of type", kNo, Bf16(), type(&Case::b, CUDA_R_32F));
  ExpectRefused("C of", kNo, Bf16(), type(&Case::c, CUDA_R_32F));
  ExpectRefused("inputs of type", kNo, Case(), [&](Case& c) {
    type(&Case::c, CUDA_R_16BF)(c);
    type(&Case::d, CUDA_R_16BF)(c);
  });
  ExpectRefused("inputs of type", kNo, Bf16(), [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE,
            int32_t{CUBLAS_COMPUTE_32F_FAST_TF32});
  });
  ExpectRefused("compute type", kNo, Case(), [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, int32_t{CUBLAS_COMPUTE_16F});
  });
  ExpectRefused("scale type", kNo, Bf16(), [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_SCALE_TYPE, int32_t{CUDA_R_16BF});
  });
  ExpectRefused("order 2", kNo, Case(), [](Case& c) {
    SetLayout(c.a, CUBLASLT_MATRIX_LAYOUT_ORDER, int32_t{CUBLASLT_ORDER_COL32});
  });
  ExpectRefused("epilogue", kNo, Case(), [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t{CUBLASLT_EPILOGUE_GELU});
  });
  Case bias = Bf16();
  bias.bias = true;
  ExpectRefused("a bias of type 0", kNo, bias, [](Case& c) {
    SetDesc(c, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t{CUDA_R_32F});
  });
}

TEST_F(CublasLtRules, AttributesHaveTheirSizes) {
  Case c;
  Prepare(c);
  const int64_t value = 1;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(c.desc, CUBLASLT_MATMUL_DESC_TRANSA,
                                           &value, 8),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(
                c.a.layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &value, 8),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(
      cublasLtMatmulPreferenceSetAttribute(
          preference_, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &value, 4),
      CUBLAS_STATUS_INVALID_VALUE);
  const uint32_t odd = 12;
  EXPECT_EQ(
      cublasLtMatmulPreferenceSetAttribute(
          preference_, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &odd, 4),
      CUBLAS_STATUS_INVALID_VALUE);
  Release(c);
}

// ---- memory

TEST_F(CublasLtRules, OperandsAreLiveDeviceMemoryOverTheirExtent) {
  auto status = [&](const std::function<void(Case&)>& change) {
    Case c;
    c.change = change;
    return Status(c);
  };
  EXPECT_EQ(status([](Case& c) { c.a.p = nullptr; }),
            CUBLAS_STATUS_INVALID_VALUE);
  std::vector<float> host(1000);
  EXPECT_EQ(status([&](Case& c) { c.b.p = (char*)host.data(); }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("memory of the host program"));
  EXPECT_EQ(status([](Case& c) { cudaMallocHost(&c.b.p, 10000); }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status([](Case& c) { cudaFree(c.c.p); }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status([](Case& c) { c.d.p += 256; }), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("end outside"));
  // The last matrix of a batch counts.
  for (int64_t stride : {24 * 40, 24 * 40 + 1}) {
    Case c;
    c.a.batch = c.b.batch = c.c.batch = c.d.batch = 2;
    c.a.stride = 24 * 40;
    c.b.stride = 0;
    c.c.stride = c.d.stride = 24 * 16;
    c.with_algo = false;
    c.change = [=](Case& x) {
      SetLayout(x.a, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
    };
    EXPECT_EQ(Status(c), stride == 24 * 40 ? CUBLAS_STATUS_SUCCESS
                                           : CUBLAS_STATUS_INVALID_VALUE);
  }
}

TEST_F(CublasLtRules, BiasIsLiveDeviceMemoryToo) {
  Case c;
  c.bias = true;
  c.change = [](Case& x) { cudaFree(x.bias_p); };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("bias"));
  c.change = [](Case& x) {
    SetDesc(x, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
            static_cast<const void*>(nullptr));
  };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtRules, AlignmentIsAsPromised) {
  // 256 bytes unless the preference says less; without an algorithm, 16.
  for (uint32_t promised : {0, 256, 64, 16, 4}) {
    if (promised != 0) {
      Prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, promised);
    }
    for (size_t offset : {4, 16, 64, 256}) {
      Case c;
      c.a.offset = offset / 4;
      const size_t needed = promised == 0 ? 256 : promised;
      EXPECT_EQ(Status(c), offset >= needed ? CUBLAS_STATUS_SUCCESS
                                            : CUBLAS_STATUS_INVALID_VALUE);
      c.with_algo = false;
      EXPECT_EQ(Status(c), offset >= 16 ? CUBLAS_STATUS_SUCCESS
                                        : CUBLAS_STATUS_INVALID_VALUE);
    }
  }
  EXPECT_THAT(LastGemmError(), HasSubstr("MIN_ALIGNMENT_A_BYTES"));
}

TEST_F(CublasLtRules, RowsThatAreNotAlignedAreCounted) {
  Check(Bf16());
  EXPECT_EQ(GetCounters().matmuls_unaligned, 0);
  Case c = Bf16();
  c.m = 23;
  Check(c);
  EXPECT_EQ(GetCounters().matmuls_unaligned, 1);
}

TEST_F(CublasLtRules, ResultsDoNotOverlapOperands) {
  Case c;
  c.k = c.m;  // B is as large as D
  c.change = [](Case& x) { x.d.p = x.b.p; };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("D overlaps B"));
  c.change = [](Case& x) { x.d.p = x.a.p; };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("D overlaps A"));
  c.change = [](Case& x) { x.d.p = x.c.p; };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_SUCCESS);
  c.with_algo = false;
  c.change = [](Case& x) {
    x.d.p = x.c.p;
    x.c.ld = 32;
    SetLayout(x.c, CUBLASLT_MATRIX_LAYOUT_LD, int64_t{32});
    cudaMalloc(&x.c.p, 4000);
    x.d.p = x.c.p;
  };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("D overlaps C"));
}

// Parts of the rows of one buffer may be read while others are written.
TEST_F(CublasLtRules, GapsMayHoldAnotherOperand) {
  Case c;
  c.m = c.k = 32;
  c.b.ld = c.c.ld = c.d.ld = 96;
  Prepare(c);
  c.d.p = nullptr;
  Choose(c);
  char* rows = nullptr;
  cudaMalloc(&rows, 96 * 4 * 16);
  cudaMemset(rows, 0, 96 * 4 * 16);
  c.with_algo = false;
  c.b.p = rows;
  c.c.p = c.d.p = rows + 32 * 4;
  EXPECT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS) << LastGemmError();
  c.c.p = c.d.p = rows + 28 * 4;
  EXPECT_EQ(Multiply(c), CUBLAS_STATUS_INVALID_VALUE);
  Release(c);
}

TEST_F(CublasLtRules, WorkspaceIsAsChosen) {
  auto status = [&](const std::function<void(Case&)>& change) {
    Case c;
    c.change = change;
    return Status(c);
  };
  EXPECT_EQ(status([](Case& c) { c.workspace_bytes = 256; }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("a workspace of 256 bytes"));
  EXPECT_EQ(status([](Case& c) { c.workspace = nullptr; }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(status([](Case& c) {
              c.workspace += 16;
              c.workspace_bytes -= 16;
            }),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("multiple of 256"));
  EXPECT_EQ(status([](Case& c) { c.workspace_bytes += 1; }),
            CUBLAS_STATUS_INVALID_VALUE);
  // None is asked for where none is allowed.
  Prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{0});
  EXPECT_EQ(status([](Case& c) {
              EXPECT_EQ(c.chosen.workspaceSize, 0u);
              c.workspace = nullptr;
              c.workspace_bytes = 0;
            }),
            CUBLAS_STATUS_SUCCESS);
}

TEST_F(CublasLtRules, AnAlgorithmIsForItsProblem) {
  Case c;
  c.change = [](Case& x) { x.chosen = {}; };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("none that the heuristic gave"));
  c.n = 20;
  c.change = [](Case& x) {
    for (Matrix* y : {&x.b, &x.c, &x.d}) {
      SetLayout(*y, CUBLASLT_MATRIX_LAYOUT_COLS, uint64_t{19});
    }
  };
  EXPECT_EQ(Status(c), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(LastGemmError(), HasSubstr("another problem"));
}

TEST_F(CublasLtRules, DescriptorsMustBeAlive) {
  Case c;
  Prepare(c);
  Choose(c);
  cublasLtMatrixLayout_t layout = c.a.layout;
  c.a.layout = nullptr;
  EXPECT_EQ(Multiply(c), CUBLAS_STATUS_INVALID_VALUE);
  c.a.layout = layout;
  EXPECT_EQ(cublasLtMatmulDescDestroy(nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasLtDestroy(nullptr), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_STREQ(cublasLtGetStatusName(CUBLAS_STATUS_INVALID_VALUE),
               "CUBLAS_STATUS_INVALID_VALUE");
  Release(c);
}

TEST_F(CublasLtRules, HandleAndStreamAreOfOneDevice) {
  cuda_host::SetDeviceCount(2);
  Case c;
  Prepare(c);
  Choose(c);
  cudaSetDevice(1);
  cudaStreamCreate(&c.stream);
  EXPECT_EQ(Multiply(c), CUBLAS_STATUS_INVALID_VALUE);
  Release(c);
}

}  // namespace
}  // namespace cuda_host::matmul

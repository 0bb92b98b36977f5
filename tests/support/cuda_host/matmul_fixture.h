// A random matmul by way of cuBLASLt, which a test may change before it is
// called, and its comparison with a naive double loop.
//
// Bound: with eps = 2^-24 float32's rounding, each of k products and the at
// most k + 3 additions, in any order and split, is off by eps of what it has so
// far: (k + 4) eps sum |a b| in all. Alpha, beta, C and the bias are three
// roundings more, of all that is added. TF32 rounds inputs by 2^-11 of
// themselves, bf16 by 2^-8, twice in a product. What is stored as bf16 is off
// by 2^-8 of itself.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_MATMUL_FIXTURE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_MATMUL_FIXTURE_H_

#include <cublasLt.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "cuda_host/control.h"

namespace cuda_host::matmul {

inline constexpr size_t kWorkspace = 1 << 20;

inline uint16_t ToBf16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float FromBf16(uint16_t h) {
  const uint32_t bits = uint32_t{h} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// One operand: its layout, and values on host and device.
struct Matrix {
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 1, cols = 1;
  int64_t ld = 0;  // 0: the least
  int32_t order = CUBLASLT_ORDER_COL;
  int32_t batch = 1;
  int64_t stride = 0;
  size_t offset = 0;  // elements, from the allocation's beginning
  char* p = nullptr;  // device
  std::vector<float> values;
  cublasLtMatrixLayout_t layout = nullptr;

  size_t element() const { return type == CUDA_R_16BF ? 2 : 4; }
  size_t At(int index, uint64_t row, uint64_t col) const {
    return offset + index * stride +
           (order == CUBLASLT_ORDER_COL ? col * ld + row : row * ld + col);
  }
  double operator()(int index, uint64_t row, uint64_t col) const {
    return values[At(index, row, col)];
  }
};

// D = alpha op(A) op(B) + beta C + bias, with everything a test may change
// before Run.
struct Case {
  int m = 24, n = 16, k = 40;
  bool turn_a = false, turn_b = false;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  float alpha = 1, beta = 0;
  bool bias = false;
  bool with_algo = true;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  Matrix a, b, c, d;
  cudaStream_t stream = nullptr;
  // Before the matmul, on the descriptors and operands as they are.
  std::function<void(Case&)> change = [](Case&) {};

  cublasLtMatmulDesc_t desc = nullptr;
  const void* alpha_p = nullptr;
  const void* beta_p = nullptr;
  cublasLtMatmulHeuristicResult_t chosen = {};
  char* workspace = nullptr;
  size_t workspace_bytes = kWorkspace;
  char* bias_p = nullptr;
  std::vector<float> bias_values;
  cublasStatus_t heuristic_status = CUBLAS_STATUS_SUCCESS;
  int algos = 0;
};

template <typename T>
void SetDesc(Case& c, cublasLtMatmulDescAttributes_t attribute, T value) {
  ASSERT_EQ(
      cublasLtMatmulDescSetAttribute(c.desc, attribute, &value, sizeof(value)),
      CUBLAS_STATUS_SUCCESS);
}

template <typename T>
void SetLayout(Matrix& x, cublasLtMatrixLayoutAttribute_t attribute, T value) {
  ASSERT_EQ(cublasLtMatrixLayoutSetAttribute(x.layout, attribute, &value,
                                             sizeof(value)),
            CUBLAS_STATUS_SUCCESS);
}

class MatmulFixture : public testing::Test {
 protected:
  MatmulFixture() {
    cuda_host::ResetDevice();
    EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference_),
              CUBLAS_STATUS_SUCCESS);
    Prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspace});
  }
  ~MatmulFixture() override {
    cublasLtMatmulPreferenceDestroy(preference_);
    cublasLtDestroy(handle_);
    cuda_host::ResetDevice();
  }

  template <typename T>
  void Prefer(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference_, attribute,
                                                   &value, sizeof(value)),
              CUBLAS_STATUS_SUCCESS);
  }

  void Upload(Matrix& x) {
    if (x.ld == 0) x.ld = x.order == CUBLASLT_ORDER_COL ? x.rows : x.cols;
    const size_t count = x.At(x.batch - 1, x.rows - 1, x.cols - 1) + 1;
    std::normal_distribution<float> normal;
    x.values.resize(count);
    std::vector<uint16_t> bf16(count);
    for (size_t i = 0; i < count; ++i) {
      x.values[i] = normal(random_);
      if (x.type != CUDA_R_16BF) continue;
      bf16[i] = ToBf16(x.values[i]);
      x.values[i] = FromBf16(bf16[i]);
    }
    EXPECT_EQ(cudaMalloc(&x.p, count * x.element()), cudaSuccess);
    const void* from = x.type == CUDA_R_16BF
                           ? static_cast<const void*>(bf16.data())
                           : x.values.data();
    cudaMemcpy(x.p, from, count * x.element(), cudaMemcpyHostToDevice);
    x.p += x.offset * x.element();
    EXPECT_EQ(
        cublasLtMatrixLayoutCreate(&x.layout, x.type, x.rows, x.cols, x.ld),
        CUBLAS_STATUS_SUCCESS);
    SetLayout(x, CUBLASLT_MATRIX_LAYOUT_ORDER, x.order);
    SetLayout(x, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, x.batch);
    SetLayout(x, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, x.stride);
  }

  static void SetShapes(Case& c) {
    c.a.rows = c.turn_a ? c.k : c.m;
    c.a.cols = c.turn_a ? c.m : c.k;
    c.b.rows = c.turn_b ? c.n : c.k;
    c.b.cols = c.turn_b ? c.k : c.n;
    c.c.rows = c.d.rows = c.m;
    c.c.cols = c.d.cols = c.n;
  }

  void Prepare(Case& c) {
    SetShapes(c);
    Upload(c.a);
    Upload(c.b);
    Upload(c.c);
    Upload(c.d);
    ASSERT_EQ(cublasLtMatmulDescCreate(&c.desc, c.compute, CUDA_R_32F),
              CUBLAS_STATUS_SUCCESS);
    SetDesc(c, CUBLASLT_MATMUL_DESC_TRANSA,
            int32_t{c.turn_a ? CUBLAS_OP_T : CUBLAS_OP_N});
    SetDesc(c, CUBLASLT_MATMUL_DESC_TRANSB,
            int32_t{c.turn_b ? CUBLAS_OP_T : CUBLAS_OP_N});
    SetDesc(c, CUBLASLT_MATMUL_DESC_POINTER_MODE, c.pointer_mode);
    if (c.bias) {
      Matrix bias;
      bias.type = c.d.type;
      bias.rows = c.m;
      Upload(bias);
      c.bias_p = bias.p;
      c.bias_values = bias.values;
      cublasLtMatrixLayoutDestroy(bias.layout);
      SetDesc(c, CUBLASLT_MATMUL_DESC_EPILOGUE,
              uint32_t{CUBLASLT_EPILOGUE_BIAS});
      SetDesc(c, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
              static_cast<const void*>(c.bias_p));
    }
    c.alpha_p = &c.alpha;
    c.beta_p = &c.beta;
    cudaMalloc(&c.workspace, kWorkspace);
    // Beta 0 reads no C.
    if (c.beta == 0) {
      cudaMemset(c.c.p, 0xFF, c.c.values.size() * c.c.element());
    }
    cudaDeviceSynchronize();
  }

  void Choose(Case& c) {
    c.heuristic_status = cublasLtMatmulAlgoGetHeuristic(
        handle_, c.desc, c.a.layout, c.b.layout, c.c.layout, c.d.layout,
        preference_, 1, &c.chosen, &c.algos);
  }

  cublasStatus_t Multiply(Case& c) {
    return cublasLtMatmul(handle_, c.desc, c.alpha_p, c.a.p, c.a.layout, c.b.p,
                          c.b.layout, c.beta_p, c.c.p, c.c.layout, c.d.p,
                          c.d.layout, c.with_algo ? &c.chosen.algo : nullptr,
                          c.workspace, c.workspace_bytes, c.stream);
  }

  static void Release(Case& c) {
    for (Matrix* x : {&c.a, &c.b, &c.c, &c.d}) {
      EXPECT_EQ(cublasLtMatrixLayoutDestroy(x->layout), CUBLAS_STATUS_SUCCESS);
    }
    EXPECT_EQ(cublasLtMatmulDescDestroy(c.desc), CUBLAS_STATUS_SUCCESS);
  }

  // The status of the matmul after the case's change.
  cublasStatus_t Status(Case c) {
    Prepare(c);
    Choose(c);
    EXPECT_EQ(c.heuristic_status, CUBLAS_STATUS_SUCCESS) << LastGemmError();
    c.change(c);
    const cublasStatus_t status = Multiply(c);
    Release(c);
    return status;
  }

  std::vector<float> Download(const Matrix& x) {
    const size_t count = x.values.size() - x.offset;
    std::vector<float> out(count);
    std::vector<uint16_t> bf16(count);
    void* to =
        x.type == CUDA_R_16BF ? static_cast<void*>(bf16.data()) : out.data();
    EXPECT_EQ(cudaMemcpy(to, x.p, count * x.element(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    if (x.type == CUDA_R_16BF) {
      for (size_t i = 0; i < count; ++i) out[i] = FromBf16(bf16[i]);
    }
    return out;
  }

  // Runs the case and compares with doubles.
  void Check(Case c) {
    Prepare(c);
    Choose(c);
    ASSERT_EQ(c.heuristic_status, CUBLAS_STATUS_SUCCESS) << LastGemmError();
    ASSERT_EQ(c.algos, 1);
    c.change(c);
    ASSERT_EQ(Multiply(c), CUBLAS_STATUS_SUCCESS) << LastGemmError();
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    Compare(c);
    Release(c);
  }

  void Compare(const Case& c) {
    const std::vector<float> d = Download(c.d);
    const double input =
        c.compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? 0x1p-10 + 0x1p-22
        : c.compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 0x1p-7 + 0x1p-16
                                                    : 0;
    std::vector<bool> written(d.size());
    for (int i = 0; i < c.d.batch; ++i) {
      for (int row = 0; row < c.m; ++row) {
        for (int col = 0; col < c.n; ++col) {
          double sum = 0, size = 0;
          for (int t = 0; t < c.k; ++t) {
            const double x = c.turn_a ? c.a(i, t, row) : c.a(i, row, t);
            const double y = c.turn_b ? c.b(i, col, t) : c.b(i, t, col);
            sum += x * y;
            size += std::abs(x * y);
          }
          const double from_c = c.beta == 0 ? 0 : c.beta * c.c(i, row, col);
          const double from_bias = c.bias ? c.bias_values[row] : 0;
          const double expected = c.alpha * sum + from_c + from_bias;
          size *= std::abs(c.alpha);
          double bound = size * (input + (c.k + 4) * 0x1p-24);
          size += std::abs(from_c) + std::abs(from_bias);
          bound += 3 * 0x1p-24 * size;
          if (c.d.type == CUDA_R_16BF) {
            bound += 0x1p-8 * (std::abs(expected) + bound);
          }
          const size_t at = c.d.At(i, row, col) - c.d.offset;
          ASSERT_NEAR(d[at], expected, bound)
              << "at " << row << ", " << col << " of " << i;
          written[at] = true;
        }
      }
    }
    // What lies between is as it was.
    for (size_t at = 0; at < d.size(); ++at) {
      if (!written[at]) {
        ASSERT_EQ(d[at], c.d.values[at + c.d.offset]);
      }
    }
  }

  static Case Bf16(cudaDataType_t out = CUDA_R_16BF) {
    Case c;
    c.a.type = c.b.type = CUDA_R_16BF;
    c.c.type = c.d.type = out;
    return c;
  }

  std::mt19937 random_{7};
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace cuda_host::matmul

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_MATMUL_FIXTURE_H_

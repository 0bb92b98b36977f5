// Gemm: y = x w^T on a device, by cuBLASLt, for the few shapes a model has.
//
// A product's algorithm is chosen once for its shape and kept, so equal shapes
// give a row the same bits whenever and beside whatever it is computed. Which
// algorithm the library takes depends on the number of rows: callers that want
// a row's bits to be the same in any batch always ask for as many rows.
// Threads: one at a time; the device's stream.
// Errors:  the device's status.
#ifndef MLA_RUNTIME_CUDA_GEMM_H_
#define MLA_RUNTIME_CUDA_GEMM_H_

#include <cublasLt.h>

#include <array>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "kernels/dtype.h"
#include "runtime/cuda/device.h"

namespace mla::runtime {

// One of a product's three: matrices of rows that are `stride` elements apart,
// one matrix `batch_stride` after the other (0: the same for all).
struct GemmOperand {
  void* data = nullptr;
  int64_t stride = 0;
  int64_t batch_stride = 0;
};

struct GemmArgs {
  GemmOperand x;                // [batch, rows, inputs]
  GemmOperand w;                // [batch, outputs, inputs]
  GemmOperand y;                // [batch, rows, outputs]
  const float* bias = nullptr;  // [outputs] or null; y in float32
  int rows = 0;
  int outputs = 0;
  int inputs = 0;
  int batch = 1;
  kernels::DType in = kernels::DType::kBF16;  // of x and w: bf16 or f32
  kernels::DType out = kernels::DType::kF32;  // of y; f32 if `in` is
  bool add = false;                           // to what y holds
};

class Gemm {
 public:
  explicit Gemm(Device& device);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  void Run(const GemmArgs& args);

 private:
  struct Product {  // descriptors and an algorithm
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algo;
  };
  using Key = std::array<int64_t, 17>;

  Product* Find(const GemmArgs& args);
  bool Describe(const GemmArgs& args, const Key& key, Product& product);
  static Key KeyOf(const GemmArgs& args);
  static void Destroy(Product& product);

  Device& device_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  DeviceBuffer workspace_;
  absl::flat_hash_map<Key, Product> products_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_GEMM_H_

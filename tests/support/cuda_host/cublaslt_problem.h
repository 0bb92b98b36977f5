// A matmul as the cuBLASLt descriptors give it, the rules it must keep, and its
// value.
// Owns:    nothing; plain data, which the library's opaque structs hold.
// Threads: any.
// Errors:  a Verdict: the library's status, and why in words.
// Flow:    descriptors -> CheckShapes -> CheckMemory -> (on the stream) Compute
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_PROBLEM_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_PROBLEM_H_

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda_host/address_space.h"

namespace cuda_host {

struct Verdict {
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  std::string why;
  bool ok() const { return status == CUBLAS_STATUS_SUCCESS; }
};

struct LayoutData {
  static constexpr uint64_t kMagic = 0x4c61796f75740001;
  uint64_t magic = kMagic;
  int32_t type = CUDA_R_32F;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows = 0;
  uint64_t cols = 0;
  int64_t ld = 0;
  int64_t stride = 0;  // elements, between the matrices of a batch
  int32_t batch = 1;

  // Elements side by side in memory, and how many such runs a matrix has.
  uint64_t run() const { return order == CUBLASLT_ORDER_COL ? rows : cols; }
  uint64_t runs() const { return order == CUBLASLT_ORDER_COL ? cols : rows; }
  // Elements from the first to behind the last, of one matrix and of all.
  uint64_t extent() const { return (runs() - 1) * ld + run(); }
  uint64_t full_extent() const { return (batch - 1) * stride + extent(); }
  size_t element() const { return type == CUDA_R_16BF ? 2 : 4; }
  size_t bytes() const { return full_extent() * element(); }
  uint64_t at(uint64_t row, uint64_t col) const {
    return order == CUBLASLT_ORDER_COL ? col * ld + row : row * ld + col;
  }
};

struct DescData {
  static constexpr uint64_t kMagic = 0x4465736372690002;
  uint64_t magic = kMagic;
  int32_t compute = CUBLAS_COMPUTE_32F;
  int32_t scale = CUDA_R_32F;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  int32_t op_a = CUBLAS_OP_N;
  int32_t op_b = CUBLAS_OP_N;
  int32_t op_c = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int32_t bias_type = -1;  // as D's
  const void* bias = nullptr;
  int64_t bias_stride = 0;

  bool has_bias() const { return epilogue == CUBLASLT_EPILOGUE_BIAS; }
};

// Least alignments of A, B, C, D, in bytes.
struct Alignments {
  uint32_t bytes[4] = {256, 256, 256, 256};
};

struct PreferenceData {
  static constexpr uint64_t kMagic = 0x5072656665720003;
  uint64_t magic = kMagic;
  uint64_t workspace_bytes = 0;
  Alignments alignments;
};

struct Problem {
  DescData desc;
  LayoutData a, b, c, d;

  uint64_t m() const { return d.rows; }
  uint64_t n() const { return d.cols; }
  uint64_t k() const { return desc.op_a == CUBLAS_OP_N ? a.cols : a.rows; }
  // Equal for equal problems, memory aside.
  uint64_t Fingerprint() const;
};

struct AlgoData {
  static constexpr uint64_t kMagic = 0x416c676f72690004;
  uint64_t magic = kMagic;
  uint64_t fingerprint = 0;
  uint64_t workspace_bytes = 0;
  Alignments alignments;
};

struct Operands {
  const void* alpha = nullptr;
  const void* beta = nullptr;
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
};

// Types, shapes and attributes.
Verdict CheckShapes(const Problem& problem);

// Alignment, live device memory under all of each operand, no overlap.
Verdict CheckMemory(AddressSpace& memory, const Problem& problem,
                    const Operands& operands, const Alignments& alignments);

// What is wrong with the memory of some operand; "" if nothing.
std::string CheckLive(AddressSpace& memory, const Problem& problem,
                      const Operands& operands, Moment moment);

// Whether every run of every operand begins at a multiple of 16 bytes.
bool IsAligned(const Problem& problem, const Operands& operands);

// `split`: into how many sums a product's terms go.
void Compute(const Problem& problem, const Operands& operands, float alpha,
             float beta, int split);

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_CUBLASLT_PROBLEM_H_

// PackedMatrix is a weight [n, k] (n outputs, k inputs) laid out for the CPU
// kernels: panels of 16 outputs, so that one vector holds the same input's
// weight for 16 outputs and every output is one sum over k in ascending order,
// whatever the number of rows it is multiplied with.
//   F32:  [ceil(n/16)][k][16] float
//   BF16: [ceil(n/16)][ceil(k/2)][16][2] bf16, pairs of inputs side by side
//   Q8_0: a panel is [groups][8][16][4] bytes, four inputs side by side, each
//         plus 128, then [groups][16] scales in f16; a group is 32 inputs
//   Q4_1: a panel is [groups][4][16][4] bytes, whose low nibbles are four
//         inputs and whose high nibbles are the next four, then
//         [groups][2][16] scales and minimums in f16
// Missing outputs and inputs are zero. The quantised types mean what GGUF's
// blocks of those names mean, and hold what such blocks (and Q4_0's) hold
// without loss; other weights are rounded, see kernels/quantise.h.
// Threads: immutable once packed; any.
#ifndef MLA_KERNELS_PACKED_MATRIX_H_
#define MLA_KERNELS_PACKED_MATRIX_H_

#include <cstddef>
#include <memory>

#include "kernels/cpu/inner_kernels.h"
#include "kernels/dtype.h"

namespace mla::kernels {

class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(DType dtype, int n, int k);  // one of the above; zeros

  // One output's weights, [k].
  void SetRow(int row, const float* weights);
  void GetRow(int row, float* weights) const;

  DType dtype() const { return dtype_; }
  bool quantised() const {
    return dtype_ == DType::kQ8_0 || dtype_ == DType::kQ4_1;
  }
  int n() const { return n_; }
  int k() const { return k_; }
  int panels() const { return (n_ + kPanel - 1) / kPanel; }
  size_t panel_bytes() const { return panel_bytes_; }
  size_t bytes() const { return panel_bytes_ * panels(); }
  const std::byte* data() const { return data_.get(); }
  bool empty() const { return data_ == nullptr; }

 private:
  struct Free {
    size_t alignment;
    void operator()(std::byte* p) const;
  };
  static std::unique_ptr<std::byte, Free> AllocateZeroed(size_t bytes);
  std::byte* Panel(int row) const;  // that the output lies in

  DType dtype_ = DType::kF32;
  int n_ = 0;
  int k_ = 0;
  size_t panel_bytes_ = 0;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_PACKED_MATRIX_H_

// Weights in device memory: rows of bf16 or float32, zero-padded to whole
// 16-byte pieces, as cuBLASLt and the kernels like them; or of e4m3 codes with
// their scales (weight_codes.h).
// Threads: one at a time; they are filled by several.
// Errors:  the device's status; RESOURCE_EXHAUSTED, if the memory is not there,
//          is one of them.
#ifndef MLA_RUNTIME_CUDA_WEIGHTS_H_
#define MLA_RUNTIME_CUDA_WEIGHTS_H_

#include <cstdint>
#include <functional>

#include "runtime/backend.h"
#include "runtime/cuda/device.h"

namespace mla::runtime {

// Elements a row of `cols` takes.
inline int PaddedTo8(int cols) { return (cols + 7) / 8 * 8; }

// `count` matrices of one shape, one after the other.
struct DeviceMatrix : Matrix {
  explicit DeviceMatrix(Device& device) : memory(device) {}

  DeviceBuffer memory;
  kernels::DType dtype = kernels::DType::kBF16;
  int count = 0;
  int outputs = 0;
  int inputs = 0;
  int stride = 0;  // PaddedTo8(inputs): elements from row to row, if not codes

  bool has_codes() const { return dtype == kernels::DType::kF8E4M3; }
  kernels::RowFormat format() const {
    return kernels::RowFormatOf(has_codes() ? inputs : stride, dtype);
  }
  int64_t matrix_elements() const { return int64_t{outputs} * stride; }
};

// See kernels/cpu/attention.h. `k` may be absorbed, [inputs, outputs] each.
struct DeviceUpProjection : UpProjection {
  explicit DeviceUpProjection(Device& device)
      : k(device), k_absorbed(device), v(device) {}

  DeviceMatrix k;
  DeviceMatrix k_absorbed;
  DeviceMatrix v;
};

// Copies weights to the device by way of pinned memory, converted on all cores.
class WeightUploader {
 public:
  explicit WeightUploader(Device& device) : device_(device), staging_(device) {}

  // Fills `matrix`, which has its shape. `rows` may be called from several
  // threads.
  void Fill(const RowSource& rows, DeviceMatrix& matrix);

 private:
  Device& device_;
  PinnedBuffer staging_;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_WEIGHTS_H_

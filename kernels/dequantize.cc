#include "kernels/dequantize.h"

namespace mla::kernels {
void Dequantize(DType type, const void* src, size_t n, float* dst) {
  if (type == DType::kF32) std::memcpy(dst, src, n * 4);
}
}  // namespace mla::kernels

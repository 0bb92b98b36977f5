// Dequantize turns stored elements of any DType into float.
// Threads: any.
// Shapes:  n elements, a multiple of the type's block; src holds exactly their
//          bytes, at any alignment; dst does not overlap it.
// Exact:   the bits that ggml's reference and the PyPI package gguf give.
//          Integers, which only travel in files, round to the nearest float.
#ifndef MLA_KERNELS_DEQUANTIZE_H_
#define MLA_KERNELS_DEQUANTIZE_H_

#include <cstddef>

#include "kernels/dtype.h"

namespace mla::kernels {

void Dequantize(DType type, const void* src, size_t n, float* dst);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_DEQUANTIZE_H_

// One group of weights as GGUF's Q8_0 and Q4_1 have it.
// Threads: stateless; any.
#ifndef MLA_KERNELS_QUANTISE_H_
#define MLA_KERNELS_QUANTISE_H_

#include <cstdint>

#include "kernels/cpu/inner_kernels.h"

namespace mla::kernels {

// Weight i is scale * q[i] + minimum; scale and minimum are halves' values.
struct QuantisedGroup {
  float scale;
  float minimum;
  int q[kGroup];
};

// q in [-127, 127], no minimum: the largest magnitude is 127. If a weight is
// not finite, the scale is NaN, here and below.
QuantisedGroup QuantiseBytes(const float (&w)[kGroup]);

// q in [0, 15]. Of the ranges that Q4_1 and Q4_0 would give such weights, the
// one with the smallest squared error: none, for weights that were in them.
QuantisedGroup QuantiseNibbles(const float (&w)[kGroup]);

}  // namespace mla::kernels

#endif  // MLA_KERNELS_QUANTISE_H_

// HopperShape: the compile-time side of the Hopper attention kernel, and what
// it is told. DeepSeek's latent is 576/512; tests run a smaller one besides.
// C++17-clean.
#ifndef MLA_KERNELS_CUDA_ATTENTION_HOPPER_SHAPE_H_
#define MLA_KERNELS_CUDA_ATTENTION_HOPPER_SHAPE_H_

#include <cuda.h>

#include "kernels/cuda/attention_args.h"

namespace mla::kernels::cuda {

// REQUIRES: values are the first columns of the keys, which are the first
// columns of bf16 rows; all virtual heads read one group; no newest rows, no
// chosen ones, no parts; results' strides are even.
struct HopperAttentionArgs {
  // [blocks, block_rows, key], of the cache; a box is 64 columns of 64 rows, or
  // of block_rows if those are fewer.
  CUtensorMap rows;
  AttentionArgs attention;
};

template <int kKeyDimValue, int kValueDimValue>
struct HopperShape {
  static constexpr int kKeyDim = kKeyDimValue;
  static constexpr int kValueDim = kValueDimValue;
  static constexpr int kRows = 64;    // packed query rows
  static constexpr int kTokens = 64;  // of a tile
  // Two warpgroups that compute, and one for the thread that copies. (A single
  // warp would do, but registers change hands between warpgroups.)
  static constexpr int kConsumers = 256;
  static constexpr int kThreads = kConsumers + 128;
  // Together at most what kThreads have of 65536, by 8s.
  static constexpr int kConsumerRegisters = 232;
  static constexpr int kProducerRegisters = 40;

  static constexpr int kKeyBoxes = kKeyDim / 64;
  static constexpr int kValueBoxes = kValueDim / 64;
  // Registers of a thread: scores of 64 rows and 32 tokens, results of 64 rows
  // and half of the columns, over 128 threads.
  static constexpr int kScores = 16;
  static constexpr int kSums = kValueDim / 4;

  static constexpr int kBoxBytes = 64 * 64 * 2;
  static constexpr int kQueryBytes = kKeyBoxes * kBoxBytes;
  static constexpr int kKeyBytes = kKeyBoxes * kBoxBytes;
  static constexpr int kSharedBytes =
      kQueryBytes + 2 * kKeyBytes + kBoxBytes + (2 + 2 + 1) * kRows * 4 + 4 * 8;

  static_assert(kKeyDim % 64 == 0 && kValueDim % 128 == 0, "whole boxes");
  static_assert(2 * kConsumerRegisters + kProducerRegisters <= 3 * 168,
                "the launch has 168 each");
  static_assert(kValueDim <= kKeyDim, "values are a part of the keys");
};

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ATTENTION_HOPPER_SHAPE_H_

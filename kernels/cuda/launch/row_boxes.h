// BoxesOf: the tensor map by which Hopper's attention kernel finds cached rows.
// Threads: any. Errors: what the driver's function says.
#ifndef MLA_KERNELS_CUDA_LAUNCH_ROW_BOXES_H_
#define MLA_KERNELS_CUDA_LAUNCH_ROW_BOXES_H_

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/attention_args.h"

namespace mla::kernels::cuda {

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

// Whether the rows of the cache, key_dim elements of each, can be read by boxes
// of 64 columns and 64 rows, or a whole block's if those are fewer.
inline bool FitBoxes(const AttentionArgs& args, int key_dim) {
  const int rows = args.block_rows;
  const bool whole_tiles = rows % 64 == 0 || (rows >= 8 && 64 % rows == 0);
  return whole_tiles && args.format.dtype == DType::kBF16 &&
         args.block_tables != nullptr && args.format.bytes % 16 == 0 &&
         args.format.bytes >= key_dim * 2 &&
         args.block_bytes % args.format.bytes == 0 &&
         reinterpret_cast<uintptr_t>(args.cache) % 16 == 0;
}

// REQUIRES: FitBoxes.
inline CUresult BoxesOf(const AttentionArgs& args, int key_dim,
                        EncodeTiled encode, CUtensorMap* map) {
  // How many blocks the cache has is not known here, and tables name no others:
  // as many as 1 TiB, more than any device has.
  const cuuint64_t blocks = (cuuint64_t{1} << 40) / args.block_bytes;
  const auto rows = static_cast<cuuint32_t>(args.block_rows);
  const cuuint64_t size[3] = {static_cast<cuuint64_t>(key_dim), rows, blocks};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(args.format.bytes),
                                 static_cast<cuuint64_t>(args.block_bytes)};
  const cuuint32_t box[3] = {64, rows < 64 ? rows : 64, 1};
  const cuuint32_t every[3] = {1, 1, 1};
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3,
                const_cast<unsigned char*>(args.cache), size, strides, box,
                every, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_LAUNCH_ROW_BOXES_H_

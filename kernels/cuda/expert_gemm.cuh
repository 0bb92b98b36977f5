// Experts' linear layers: rows sorted by expert meet their expert's weights on
// tensor cores, a tile of rows at a time. What it computes: ExpertGemmArgs in
// kernels/cuda/moe_args.h.
//
// A block has a tile's 16 rows and 64 outputs, each warp 16 of them, and runs
// over k in steps of 64 elements, of which some are on their way into shared
// memory while one is multiplied. Few rows meet many weights, so what counts is
// that enough of those are on their way.
//
// A sum is over k in ascending order, 16 elements at a time, each of them its
// own row's: not of the tile, nor of the row's place in it. Rows behind the
// tile's, outputs behind n and elements behind k's last chunk of 8 are zeros,
// and are not read.
#ifndef MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_
#define MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_

#include "kernels/cuda/moe_args.h"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_tiles.cuh"

namespace mla::kernels::cuda {

struct ExpertGemmShape {
  static constexpr int kRows = 16;
  static constexpr int kOutputs = 64;
  static constexpr int kDepth = 64;  // elements of k in a step
  static constexpr int kStages = 4;
  static constexpr int kThreads = 128;

  static constexpr int kChunks = kDepth / 8;
  static constexpr int kRowBytes = kRows * kDepth * 2;
  static constexpr int kStageBytes = kRowBytes + kOutputs * kDepth * 2;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static constexpr int kOutTiles = kOutputs / (kThreads / 32) / 8;  // of a warp

  static_assert(kThreads / kChunks == kRows, "a thread per chunk of the rows");
  static_assert(kSharedBytes <= 48 * 1024, "a launch need not ask for it");
};

// One of a block's tiles: what it multiplies.
struct ExpertGemmTile {
  using Shape = ExpertGemmShape;

  const ExpertGemmArgs& args;
  const ExpertTile tile;
  const uint16_t* const w;  // the expert's
  const int first_output;
  unsigned char* const shared;

  // Step s of k, by all threads: rows, then weights behind them.
  MLA_DEVICE void Load(int s) const {
    const int r = static_cast<int>(threadIdx.x) / Shape::kChunks;
    const int chunk = static_cast<int>(threadIdx.x) % Shape::kChunks;
    const int at = s * Shape::kDepth + chunk * 8;
    unsigned char* stage = shared + s % Shape::kStages * Shape::kStageBytes;
    const bool has_row = at < args.k && r < tile.rows;
    const uint16_t* x = args.x;
    if (has_row) {
      x += (static_cast<int64_t>(tile.row0) + r) * args.x_stride + at;
    }
    CopyAsync16(stage + ChunkOffset<Shape::kChunks>(r, chunk), x,
                has_row ? 16 : 0);
    MLA_UNROLL
    for (int i = r; i < Shape::kOutputs; i += Shape::kRows) {
      const bool has_output = at < args.k && first_output + i < args.n;
      const uint16_t* from = w;
      if (has_output) {
        from += (static_cast<int64_t>(first_output) + i) * args.w_stride + at;
      }
      CopyAsync16(
          stage + Shape::kRowBytes + ChunkOffset<Shape::kChunks>(i, chunk),
          from, has_output ? 16 : 0);
    }
  }

  // sums += rows times this warp's outputs, of step s.
  MLA_DEVICE void Multiply(int s, float (&sums)[Shape::kOutTiles][4]) const {
    constexpr int kChunks = Shape::kChunks;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const unsigned char* rows =
        shared + s % Shape::kStages * Shape::kStageBytes;
    const unsigned char* weights = rows + Shape::kRowBytes;
    MLA_UNROLL
    for (int k = 0; k < Shape::kDepth / 32; ++k) {
      uint32_t low[4], high[4];
      LoadMatrix(low, rows + ChunkOffset<kChunks>(lane % 16, lane / 16, k * 4));
      LoadMatrix(high,
                 rows + ChunkOffset<kChunks>(lane % 16, lane / 16, k * 4 + 2));
      MLA_UNROLL
      for (int i = 0; i < Shape::kOutTiles; ++i) {
        const int output = (warp * Shape::kOutTiles + i) * 8 + lane % 8;
        uint32_t b[4];
        LoadMatrix(b, weights + ChunkOffset<kChunks>(output, lane / 8, k * 4));
        MmaBf16(sums[i], low, b[0], b[1]);
        MmaBf16(sums[i], high, b[2], b[3]);
      }
    }
  }

  MLA_DEVICE void Store(const float (&sums)[Shape::kOutTiles][4]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    MLA_UNROLL
    for (int i = 0; i < Shape::kOutTiles; ++i) {
      MLA_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int r = lane / 4 + j / 2 * 8;
        const int output = first_output + (warp * Shape::kOutTiles + i) * 8 +
                           lane % 4 * 2 + j % 2;
        if (r >= tile.rows || output >= args.n) continue;
        args.y[(static_cast<int64_t>(tile.row0) + r) * args.n + output] =
            sums[i][j];
      }
    }
  }
};

// Grid: [num_tiles, n / kOutputs] blocks of kThreads, kSharedBytes.
__global__ void __launch_bounds__(ExpertGemmShape::kThreads)
    ExpertGemmKernel(const __grid_constant__ ExpertGemmArgs args) {
  using Shape = ExpertGemmShape;
  MLA_SHARED_MEMORY(shared);
  const ExpertTile tile = args.tiles[blockIdx.x];
  if (tile.rows == 0) return;
  const ExpertGemmTile gemm{args, tile, args.w[tile.expert],
                            static_cast<int>(blockIdx.y) * Shape::kOutputs,
                            shared};
  const int steps = (args.k + Shape::kDepth - 1) / Shape::kDepth;

  float sums[Shape::kOutTiles][4];
  MLA_UNROLL
  for (int i = 0; i < Shape::kOutTiles; ++i) {
    MLA_UNROLL
    for (int j = 0; j < 4; ++j) sums[i][j] = 0.0f;
  }
  MLA_UNROLL
  for (int s = 0; s < Shape::kStages - 1; ++s) {
    if (s < steps) gemm.Load(s);
    CopyAsyncCommit();
  }
  for (int s = 0; s < steps; ++s) {
    CopyAsyncWait<Shape::kStages - 2>();
    SyncBlock();  // step s is there; all have left the place of the one before
    if (s + Shape::kStages - 1 < steps) gemm.Load(s + Shape::kStages - 1);
    CopyAsyncCommit();
    gemm.Multiply(s, sums);
  }
  gemm.Store(sums);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_

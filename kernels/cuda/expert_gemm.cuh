// Experts' linear layers: rows sorted by expert meet their expert's weights on
// tensor cores, a tile of rows at a time. What it computes: ExpertGemmArgs in
// kernels/cuda/moe_args.h.
//
// A block has a tile's 16 or 64 rows and 64 outputs, each warp 16 of them, and
// runs over k in steps of 64 elements, of which some are on their way into
// shared memory while one is multiplied. Few rows meet many weights, so what
// counts is that enough of those are on their way.
//
// A sum is over k in ascending order, 16 elements at a time, each of them its
// own row's: not of the tile, nor of the row's place in it. Rows behind the
// tile's, outputs behind n and elements behind k's last chunk of 8 are zeros,
// and are not read.
#ifndef MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_
#define MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_

#include "kernels/cuda/moe_args.h"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_elements.cuh"
#include "kernels/cuda/row_tiles.cuh"

namespace mla::kernels::cuda {

template <int kTileRows, bool kOfCodes>
struct ExpertGemmShape {
  static constexpr int kRows = kTileRows;
  static constexpr bool kCodes = kOfCodes;
  static constexpr int kOutputs = 64;
  static constexpr int kDepth = 64;  // elements of k in a step
  static constexpr int kStages = kRows == 16 ? 4 : 3;
  static constexpr int kThreads = 128;

  static constexpr int kChunks = kDepth / 8;  // of 16 bytes, of a row
  static constexpr int kChunkWeights = kCodes ? 16 : 8;
  static constexpr int kWeightChunks = kDepth / kChunkWeights;
  static constexpr int kRowBytes = kRows * kDepth * 2;
  static constexpr int kStageBytes = kRowBytes + kOutputs * kWeightChunks * 16;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static constexpr int kRowTiles = kRows / 16;
  static constexpr int kOutTiles = kOutputs / (kThreads / 32) / 8;  // of a warp
  static constexpr int kScaleSteps = kRowScaleElements / kDepth;

  static_assert(kThreads / kChunks == 16, "a thread per chunk of 16 rows");
  static_assert(kSharedBytes <= 48 * 1024, "a launch need not ask for it");
};

// One of a block's tiles: what it multiplies.
template <class Shape>
struct ExpertGemmTile {
  using Sums = float[Shape::kRowTiles][Shape::kOutTiles][4];

  const ExpertGemmArgs& args;
  const ExpertTile tile;
  const unsigned char* const w;  // the expert's, bf16 or codes
  const int64_t w_row_bytes;
  const int scales_at;
  const int first_output;
  unsigned char* const shared;

  // Step s of k, by all threads: rows, then weights behind them.
  MLA_DEVICE void Load(int s) const {
    const int tid = static_cast<int>(threadIdx.x);
    const int chunk = tid % Shape::kChunks;
    const int at = s * Shape::kDepth + chunk * 8;
    unsigned char* stage = shared + s % Shape::kStages * Shape::kStageBytes;
    MLA_UNROLL
    for (int r = tid / Shape::kChunks; r < Shape::kRows; r += 16) {
      const bool has_row = at < args.k && r < tile.rows;
      const uint16_t* x = args.x;
      if (has_row) {
        x += (static_cast<int64_t>(tile.row0) + r) * args.x_stride + at;
      }
      CopyAsync16(stage + ChunkOffset<Shape::kChunks>(r, chunk), x,
                  has_row ? 16 : 0);
    }
    constexpr int kWeightChunks = Shape::kWeightChunks;
    const int w_chunk = tid % kWeightChunks;
    // Zeros behind k: codes there are scales or nobody's.
    const int left =
        args.k - s * Shape::kDepth - w_chunk * Shape::kChunkWeights;
    const int bytes = !Shape::kCodes ? 16 : left < 16 ? left : 16;
    MLA_UNROLL
    for (int i = tid / kWeightChunks; i < Shape::kOutputs;
         i += Shape::kThreads / kWeightChunks) {
      const bool has_output = left > 0 && first_output + i < args.n;
      const unsigned char* from = w;
      if (has_output) {
        from += (static_cast<int64_t>(first_output) + i) * w_row_bytes +
                (s * kWeightChunks + w_chunk) * 16;
      }
      CopyAsync16(
          stage + Shape::kRowBytes + ChunkOffset<kWeightChunks>(i, w_chunk),
          from, has_output ? bytes : 0);
    }
  }

  // What of the weights a lane has in two products, of 32 elements of k.
  MLA_DEVICE void LoadWeights(uint32_t (&b)[4], const unsigned char* weights,
                              int out_tile, int k) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (!Shape::kCodes) {
      LoadMatrix(b, weights + ChunkOffset<Shape::kWeightChunks>(
                                  out_tile * 8 + lane % 8, k * 4 + lane / 8));
      return;
    }
    // Elements 2t, 2t + 1, and 8 behind them, of each chunk of 16.
    const int pair = lane % 4;
    MLA_UNROLL
    for (int i = 0; i < 4; ++i) {
      const unsigned char* chunk =
          weights + ChunkOffset<Shape::kWeightChunks>(out_tile * 8 + lane / 4,
                                                      k * 2 + i / 2);
      const uint32_t four =
          reinterpret_cast<const uint32_t*>(chunk)[i % 2 * 2 + pair / 2];
      const uint32_t two = four >> pair % 2 * 16;
      b[i] = PackBf16(E4m3ToFloat(two), E4m3ToFloat(two >> 8));
    }
  }

  // sums += rows times this warp's outputs, of step s.
  MLA_DEVICE void Multiply(int s, Sums& sums) const {
    constexpr int kChunks = Shape::kChunks;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const unsigned char* rows =
        shared + s % Shape::kStages * Shape::kStageBytes;
    const unsigned char* weights = rows + Shape::kRowBytes;
    MLA_KEEP_LOOP
    for (int k = 0; k < Shape::kDepth / 32; ++k) {
      uint32_t b[Shape::kOutTiles][4];
      MLA_UNROLL
      for (int i = 0; i < Shape::kOutTiles; ++i) {
        LoadWeights(b[i], weights, warp * Shape::kOutTiles + i, k);
      }
      MLA_UNROLL
      for (int r = 0; r < Shape::kRowTiles; ++r) {
        uint32_t low[4], high[4];
        const int row = r * 16 + lane % 16;
        LoadMatrix(low, rows + ChunkOffset<kChunks>(row, lane / 16, k * 4));
        LoadMatrix(high,
                   rows + ChunkOffset<kChunks>(row, lane / 16, k * 4 + 2));
        MLA_UNROLL
        for (int i = 0; i < Shape::kOutTiles; ++i) {
          MmaBf16(sums[r][i], low, b[i][0], b[i][1]);
          MmaBf16(sums[r][i], high, b[i][2], b[i][3]);
        }
      }
    }
  }

  // The output of a lane's element i of an out tile.
  MLA_DEVICE int Output(int out_tile, int i) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    return first_output + (warp * Shape::kOutTiles + out_tile) * 8 +
           lane % 4 * 2 + i % 2;
  }

  // Of the outputs this lane has, in step s.
  MLA_DEVICE void LoadScales(int s,
                             float (&scales)[Shape::kOutTiles][2]) const {
    MLA_UNROLL
    for (int i = 0; i < Shape::kOutTiles; ++i) {
      MLA_UNROLL
      for (int j = 0; j < 2; ++j) {
        const int output = Output(i, j);
        scales[i][j] = output < args.n ? reinterpret_cast<const float*>(
                                             w + output * w_row_bytes +
                                             scales_at)[s / Shape::kScaleSteps]
                                       : 0.0f;
      }
    }
  }

  MLA_DEVICE void Store(const Sums& sums) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int64_t stride = args.y_stride != 0 ? args.y_stride : args.n;
    MLA_UNROLL
    for (int t = 0; t < Shape::kRowTiles * Shape::kOutTiles * 4; ++t) {
      const int i = t / 4 % Shape::kOutTiles, j = t % 4;
      const int r = t / 4 / Shape::kOutTiles * 16 + lane / 4 + j / 2 * 8;
      const int output = Output(i, j);
      if (r >= tile.rows || output >= args.n) continue;
      const float sum = sums[t / 4 / Shape::kOutTiles][i][j];
      args.y[(static_cast<int64_t>(tile.row0) + r) * stride + output] =
          args.bias != nullptr ? sum + args.bias[output] : sum;
    }
  }
};

template <class Shape>
MLA_DEVICE void Clear(typename ExpertGemmTile<Shape>::Sums& sums) {
  MLA_UNROLL
  for (int t = 0; t < Shape::kRowTiles * Shape::kOutTiles * 4; ++t) {
    sums[t / 4 / Shape::kOutTiles][t / 4 % Shape::kOutTiles][t % 4] = 0.0f;
  }
}

// sums += scales * part, which is nothing then.
template <class Shape>
MLA_DEVICE void AddScaled(typename ExpertGemmTile<Shape>::Sums& part,
                          const float (&scales)[Shape::kOutTiles][2],
                          typename ExpertGemmTile<Shape>::Sums& sums) {
  MLA_UNROLL
  for (int t = 0; t < Shape::kRowTiles * Shape::kOutTiles * 4; ++t) {
    const int r = t / 4 / Shape::kOutTiles, i = t / 4 % Shape::kOutTiles;
    sums[r][i][t % 4] += scales[i][t % 2] * part[r][i][t % 4];
  }
  Clear<Shape>(part);
}

// Grid: [tiles, n / kOutputs] blocks of kThreads, kSharedBytes.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    ExpertGemmKernel(const __grid_constant__ ExpertGemmArgs args) {
  MLA_SHARED_MEMORY(shared);
  ExpertTile tile;
  if (args.tiles != nullptr) {
    tile = args.tiles[blockIdx.x];
  } else {
    tile.row0 = static_cast<int>(blockIdx.x) * Shape::kRows;
    tile.rows = args.rows - tile.row0 < Shape::kRows ? args.rows - tile.row0
                                                     : Shape::kRows;
  }
  if (tile.rows == 0) return;
  const unsigned char* w = args.only;
  if (args.only == nullptr) {
    w = Shape::kCodes
            ? args.codes[tile.expert]
            : reinterpret_cast<const unsigned char*>(args.w[tile.expert]);
  }
  const ExpertGemmTile<Shape> gemm{
      args,
      tile,
      w,
      Shape::kCodes ? args.format.bytes : args.w_stride * 2,
      args.format.scales_at,
      static_cast<int>(blockIdx.y) * Shape::kOutputs,
      shared};
  const int steps = (args.k + Shape::kDepth - 1) / Shape::kDepth;

  float sums[Shape::kRowTiles][Shape::kOutTiles][4];
  Clear<Shape>(sums);
  // Of the codes that have one scale.
  float part[Shape::kRowTiles][Shape::kOutTiles][4];
  float scales[Shape::kOutTiles][2] = {};
  if (Shape::kCodes) Clear<Shape>(part);
  MLA_UNROLL
  for (int s = 0; s < Shape::kStages - 1; ++s) {
    if (s < steps) gemm.Load(s);
    CopyAsyncCommit();
  }
  for (int s = 0; s < steps; ++s) {
    if (Shape::kCodes && s % Shape::kScaleSteps == 0) {
      gemm.LoadScales(s, scales);
    }
    CopyAsyncWait<Shape::kStages - 2>();
    SyncBlock();  // step s is there; all have left the place of the one before
    if (s + Shape::kStages - 1 < steps) gemm.Load(s + Shape::kStages - 1);
    CopyAsyncCommit();
    if (!Shape::kCodes) {
      gemm.Multiply(s, sums);
      continue;
    }
    gemm.Multiply(s, part);
    if (s % Shape::kScaleSteps == Shape::kScaleSteps - 1 || s == steps - 1) {
      AddScaled<Shape>(part, scales, sums);
    }
  }
  gemm.Store(sums);
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_EXPERT_GEMM_CUH_

// Attention over a latent's cached rows on Hopper: what attention.cuh computes
// for tiles of 64 packed query rows, by wgmma and bulk copies. Pieces of work,
// partial results and their combination are those of attention.cuh.
//
// One thread has boxes of cached rows copied into two places in turn. Two
// warpgroups share a tile of 64 tokens: of the scores each computes the columns
// of 32 tokens, of the results (64 rows) half of the columns, for which it
// reads the probabilities of both. Values are the first columns of the same
// rows. mma.sync has each warp load its own fragments; here four warps' share
// is read once, and shared memory no longer is what limits many heads
// (docs/CUDA.md, "What it could reach"). The split of the results by columns is
// FlashMLA's (github.com/deepseek-ai/FlashMLA).
//
// Unfilled rows of the last page may be NaN. As keys they are masked; as values
// a probability of zero does not help against them, so that they are replaced
// by zeros.
#ifndef MLA_KERNELS_CUDA_ATTENTION_HOPPER_CUH_
#define MLA_KERNELS_CUDA_ATTENTION_HOPPER_CUH_

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_hopper_shape.h"
#include "kernels/cuda/hopper_primitives.h"

namespace mla::kernels::cuda {

// What all threads of a block know of its shared memory:
//   Q | 2 tiles of keys | P | row maxima, sums | row limits | mbarriers
template <class Shape>
struct HopperTile {
  unsigned char* const shared;

  MLA_DEVICE unsigned char* Queries() const { return shared; }
  MLA_DEVICE unsigned char* Keys(int stage) const {
    return shared + Shape::kQueryBytes + stage * Shape::kKeyBytes;
  }
  MLA_DEVICE unsigned char* Probabilities() const { return Keys(2); }
  // [warpgroups, rows] each.
  MLA_DEVICE float* RowMax() const {
    return reinterpret_cast<float*>(Probabilities() + Shape::kBoxBytes);
  }
  MLA_DEVICE float* RowSum() const { return RowMax() + 2 * Shape::kRows; }
  // [rows]: a row sees indices below.
  MLA_DEVICE int* RowLimit() const {
    return reinterpret_cast<int*>(RowSum() + 2 * Shape::kRows);
  }
  // [stages] each: the tile has come; all warps have left it.
  MLA_DEVICE MBarrier* Full() const {
    return reinterpret_cast<MBarrier*>(RowLimit() + Shape::kRows);
  }
  MLA_DEVICE MBarrier* Empty() const { return Full() + 2; }
};

// Which place the n-th tile of a block takes, and how often it was taken.
struct TileTurn {
  int stage, parity;
  MLA_DEVICE explicit TileTurn(int n) : stage(n % 2), parity(n / 2 % 2) {}
};

// ---- the copying thread

// The rows at indices [first, first + 64): of one block, or of several that
// tiles are whole numbers of. Blocks behind `end` are not looked up.
template <class Shape>
MLA_DEVICE void CopyTile(const HopperAttentionArgs& hopper,
                         const int32_t* block_table, int first, int end,
                         unsigned char* keys, MBarrier* full) {
  const int block_rows = hopper.attention.block_rows;
  const int rows = block_rows < Shape::kTokens ? block_rows : Shape::kTokens;
  const int last = end < first + Shape::kTokens ? end : first + Shape::kTokens;
  const int blocks = (last - first + rows - 1) / rows;
  ArriveAndExpect(full, blocks * rows * Shape::kKeyDim * 2);
  for (int i = 0; i < blocks; ++i) {
    const int index = first + i * rows;
    const int block = block_table[index / block_rows];
    MLA_UNROLL
    for (int box = 0; box < Shape::kKeyBoxes; ++box) {
      CopyBox(keys + box * Shape::kBoxBytes + i * rows * kBoxRowBytes,
              &hopper.rows, full, box * kBoxColumns, index % block_rows, block);
    }
  }
}

template <class Shape>
MLA_DEVICE void CopyTiles(const HopperAttentionArgs& hopper,
                          const HopperTile<Shape>& tile) {
  const AttentionArgs& args = hopper.attention;
  const int block = static_cast<int>(blockIdx.x);
  int n = 0;
  for (int w = args.work_begin[block]; w < args.work_begin[block + 1]; ++w) {
    const AttentionWork& work = args.work[w];
    const int32_t* block_table =
        args.block_tables + args.spans[work.span].block_table;
    for (int first = work.begin; first < work.end;
         first += Shape::kTokens, ++n) {
      const TileTurn turn(n);
      WaitFor(&tile.Empty()[turn.stage], turn.parity ^ 1);
      CopyTile<Shape>(hopper, block_table, first, work.end,
                      tile.Keys(turn.stage), &tile.Full()[turn.stage]);
    }
  }
}

// ---- the warpgroups that compute

template <class Shape>
struct HopperConsumer {
  const AttentionArgs& args;
  const HopperTile<Shape> tile;
  const int thread, warp, lane, group;  // of the warp's rows: warp % 4

  MLA_DEVICE HopperConsumer(const AttentionArgs& a, const HopperTile<Shape>& t)
      : args(a),
        tile(t),
        thread(static_cast<int>(threadIdx.x)),
        warp(thread / 32),
        lane(thread % 32),
        group(warp / 4) {}

  MLA_DEVICE void Sync() const { SyncSome(1, Shape::kConsumers); }
  // Of the tile's rows: the lane's two.
  MLA_DEVICE int TileRow(int half) const {
    return warp % 4 * 16 + lane / 4 + half * 8;
  }

  // The piece's packed query rows; the others are zeros. Four threads a row.
  MLA_DEVICE void LoadQueries(const AttentionWork& work) const {
    const AttentionSpan& span = args.spans[work.span];
    const int heads = GroupHeads(args, work.group);
    const int row = thread / 4, packed = work.row0 + row;
    const bool inside = row < work.num_rows;
    const uint16_t* from =
        args.q + (span.first_row + packed / heads) * args.q_row_stride +
        static_cast<int64_t>(args.first_head[work.group] + packed % heads) *
            args.q_head_stride +
        thread % 4 * 8;
    MLA_UNROLL
    for (int i = 0; i < Shape::kKeyDim / 32; ++i) {
      uint4 x = make_uint4(0, 0, 0, 0);
      if (inside) x = *reinterpret_cast<const uint4*>(from + i * 32);
      StoreShared(tile.Queries() + i / 2 * Shape::kBoxBytes +
                      BoxOffset(row, i % 2 * 4 + thread % 4),
                  x);
    }
    if (thread % 4 == 0) {
      const int sees = VisibleRows(args, span.first_position + packed / heads);
      tile.RowLimit()[row] = sees < work.end ? sees : work.end;
    }
  }

  // s = Q K^T, of this warpgroup's 32 tokens.
  MLA_DEVICE void Scores(const unsigned char* keys,
                         float (&s)[Shape::kScores]) const {
    MLA_UNROLL
    for (int i = 0; i < Shape::kScores; ++i) s[i] = 0.0f;
    const uint64_t q = OperandAt(tile.Queries());
    const uint64_t k = OperandAt(keys + group * 32 * kBoxRowBytes);
    FenceProducts();
    MLA_UNROLL
    for (int i = 0; i < Shape::kKeyDim / 16; ++i) {
      const int at = i / 4 * Shape::kBoxBytes + i % 4 * 32;
      Multiply(s, OperandBehind(q, at), OperandBehind(k, at));
    }
    CommitProducts();
    WaitForProducts(s);
  }

  // o += P V, of this warpgroup's columns.
  MLA_DEVICE void Accumulate(const unsigned char* keys,
                             float (&o)[Shape::kSums]) const {
    const uint64_t p = OperandAt(tile.Probabilities());
    const uint64_t v =
        OperandAt(keys + group * (Shape::kValueBoxes / 2) * Shape::kBoxBytes,
                  Shape::kBoxBytes);
    FenceProducts();
    MLA_UNROLL
    for (int i = 0; i < Shape::kTokens / 16; ++i) {
      MultiplyTransposed(o, OperandBehind(p, i * 32),
                         OperandBehind(v, i * 16 * kBoxRowBytes));
    }
    CommitProducts();
    WaitForProducts(o);
  }

  // Masks and scales s, and leaves this warpgroup's row maxima where both find
  // them.
  MLA_DEVICE void ScaleAndMax(int first_index,
                              float (&s)[Shape::kScores]) const {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int limit = tile.RowLimit()[TileRow(half)] - first_index;
      float largest = NegativeInfinity();
      MLA_UNROLL
      for (int i = 0; i < Shape::kScores; ++i) {
        if (i / 2 % 2 != half) continue;
        const int token = group * 32 + i / 4 * 8 + lane % 4 * 2 + i % 2;
        s[i] = token < limit ? s[i] * args.scale_log2 : NegativeInfinity();
        largest = Max(largest, s[i]);
      }
      largest = Max(largest, ShuffleXor(largest, 1));
      largest = Max(largest, ShuffleXor(largest, 2));
      if (lane % 4 == 0) {
        tile.RowMax()[group * Shape::kRows + TileRow(half)] = largest;
      }
    }
  }

  // Probabilities relative to the largest score so far; `shrink` is what
  // earlier ones have to be multiplied with.
  MLA_DEVICE void Probabilities(const float (&s)[Shape::kScores],
                                float (&most)[2], float (&sum)[2],
                                float (&shrink)[2]) const {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = TileRow(half);
      const float* maxima = tile.RowMax() + row;
      const float now = Max(most[half], Max(maxima[0], maxima[Shape::kRows]));
      const float base = now == NegativeInfinity() ? 0.0f : now;
      shrink[half] = Exp2(most[half] - base);
      most[half] = now;
      sum[half] *= shrink[half];
      MLA_UNROLL
      for (int n = 0; n < Shape::kScores / 4; ++n) {
        const float p0 = Exp2(s[n * 4 + half * 2] - base);
        const float p1 = Exp2(s[n * 4 + half * 2 + 1] - base);
        sum[half] += p0 + p1;
        StoreShared(
            tile.Probabilities() + BoxOffset(row, group * 4 + n) + lane % 4 * 4,
            PackBf16(p0, p1));
      }
    }
  }

  // Zeros in place of values of rows that are not there: from `rows` on.
  MLA_DEVICE void ClearValues(unsigned char* keys, int rows) const {
    constexpr int kChunks = Shape::kValueBoxes * 8;
    MLA_KEEP_LOOP
    for (int i = rows * kChunks + thread; i < Shape::kTokens * kChunks;
         i += Shape::kConsumers) {
      const int row = i / kChunks, chunk = i % kChunks;
      StoreShared(
          keys + chunk / 8 * Shape::kBoxBytes + BoxOffset(row, chunk % 8),
          make_uint4(0, 0, 0, 0));
    }
  }

  // One tile that has come.
  MLA_DEVICE void AttendTile(unsigned char* keys, int first, int end,
                             float (&o)[Shape::kSums], float (&most)[2],
                             float (&sum)[2]) const {
    float s[Shape::kScores], shrink[2];
    Scores(keys, s);
    ScaleAndMax(first, s);
    Sync();  // row maxima of both; keys are read, and so are probabilities
    Probabilities(s, most, sum, shrink);
    if (end < first + Shape::kTokens) ClearValues(keys, end - first);
    FenceAsyncProxy();
    Sync();  // probabilities of both, and zeros
    MLA_UNROLL
    for (int i = 0; i < Shape::kSums; ++i) o[i] *= shrink[i / 2 % 2];
    Accumulate(keys, o);
  }

  // The sums of both warpgroups.
  MLA_DEVICE void ReduceSums(float (&sum)[2]) const {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      sum[half] += ShuffleXor(sum[half], 1);
      sum[half] += ShuffleXor(sum[half], 2);
      if (lane % 4 == 0) {
        tile.RowSum()[group * Shape::kRows + TileRow(half)] = sum[half];
      }
    }
    Sync();  // row sums of both
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float* sums = tile.RowSum() + TileRow(half);
      sum[half] = sums[0] + sums[Shape::kRows];
    }
  }

  // Two columns of each eight from `to` on, in f32 or bf16.
  template <class Pair, class Make>
  MLA_DEVICE static void StoreRow(const float (&o)[Shape::kSums], int half,
                                  float inverse, Pair* to, Make make) {
    MLA_UNROLL
    for (int n = 0; n < Shape::kSums / 4; ++n) {
      to[n * 4] = make(o[n * 4 + half * 2] * inverse,
                       o[n * 4 + half * 2 + 1] * inverse);
    }
  }

  // Results of this warpgroup's columns, normalised, where they belong.
  MLA_DEVICE void Store(const AttentionWork& work,
                        const float (&o)[Shape::kSums], const float (&most)[2],
                        const float (&sum)[2]) const {
    const int column = group * (Shape::kValueDim / 2) + lane % 4 * 2;
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = TileRow(half);
      if (row >= work.num_rows) continue;
      const float inverse = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
      const OutputRow out(args, work.span, work.group, work.row0 + row);
      const int64_t at = out.row * args.out_row_stride +
                         static_cast<int64_t>(out.head) * args.out_head_stride;
      if (work.slot < 0 && args.out_f32 == nullptr) {
        StoreRow(o, half, inverse,
                 reinterpret_cast<uint32_t*>(args.out_bf16 + at + column),
                 [](float a, float b) { return PackBf16(a, b); });
        continue;
      }
      const int64_t slot = static_cast<int64_t>(work.slot) * Shape::kRows + row;
      float* to = work.slot < 0 ? args.out_f32 + at
                                : args.partial + slot * Shape::kValueDim;
      StoreRow(o, half, inverse, reinterpret_cast<float2*>(to + column),
               [](float a, float b) { return make_float2(a, b); });
      if (work.slot >= 0 && group == 0 && lane % 4 == 0) {
        args.partial_lse[slot] = sum[half] > 0.0f ? most[half] + Log2(sum[half])
                                                  : NegativeInfinity();
      }
    }
  }

  MLA_DEVICE void Run() const {
    const int block = static_cast<int>(blockIdx.x);
    int n = 0;
    for (int w = args.work_begin[block]; w < args.work_begin[block + 1]; ++w) {
      const AttentionWork& work = args.work[w];
      LoadQueries(work);
      FenceAsyncProxy();
      Sync();  // queries and limits
      float o[Shape::kSums];
      float most[2] = {NegativeInfinity(), NegativeInfinity()};
      float sum[2] = {0.0f, 0.0f};
      MLA_UNROLL
      for (int i = 0; i < Shape::kSums; ++i) o[i] = 0.0f;
      for (int first = work.begin; first < work.end;
           first += Shape::kTokens, ++n) {
        const TileTurn turn(n);
        WaitFor(&tile.Full()[turn.stage], turn.parity);
        AttendTile(tile.Keys(turn.stage), first, work.end, o, most, sum);
        if (lane == 0) Arrive(&tile.Empty()[turn.stage]);
      }
      ReduceSums(sum);
      Store(work, o, most, sum);
    }
  }
};

// Grid: one block per entry of work_begin but the last; Shape::kThreads
// threads, Shape::kSharedBytes of shared memory. Where the code is not made for
// Hopper the kernel is empty, and made for blocks of a warp: so it can be told.
template <class Shape>
__global__ void __launch_bounds__(MLA_HAS_HOPPER ? Shape::kThreads : 32, 1)
    HopperAttentionKernel(const __grid_constant__ HopperAttentionArgs args) {
#if MLA_HAS_HOPPER
  MLA_SHARED_MEMORY(shared);
  const HopperTile<Shape> tile{shared};
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == Shape::kConsumers) {
    for (int stage = 0; stage < 2; ++stage) {
      InitBarrier(&tile.Full()[stage], 1);
      InitBarrier(&tile.Empty()[stage], Shape::kConsumers / 32);
    }
    FenceBarrierInit();
  }
  SyncBlock();  // mbarriers
  if (thread < Shape::kConsumers) {
    TakeRegisters<Shape::kConsumerRegisters>();
    HopperConsumer<Shape>(args.attention, tile).Run();
  } else {
    GiveRegistersBack<Shape::kProducerRegisters>();
    if (thread == Shape::kConsumers) CopyTiles<Shape>(args, tile);
  }
#endif
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ATTENTION_HOPPER_CUH_

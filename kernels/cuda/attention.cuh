// Attention over cache rows: flash attention (2205.14135, 2307.08691) on tensor
// cores, with the rows of a group read once for all of its heads.
//
//   s = scale q . k,  p = softmax(s) over the indices that the query sees,
//   o = sum p v,  lse = log sum exp s
//
// Decode runs it on the cache, queries absorbed (2405.04434, section 2.1.2), a
// long sequence in pieces whose results CombineKernel puts together; prefill
// on keys and values that were materialised a part at a time. A query that sees
// nothing gets zeros and an lse of -inf.
//
// A row's result does not depend on which other rows share its tile: products
// and sums run over its own elements in the order of indices, and what a row
// does not see adds exact zeros.
//
// Bf16 operands and probabilities, float32 sums, base 2 exponentials.
#ifndef MLA_KERNELS_CUDA_ATTENTION_CUH_
#define MLA_KERNELS_CUDA_ATTENTION_CUH_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_tiles.cuh"

namespace mla::kernels::cuda {

MLA_DEVICE int VisibleRows(const AttentionArgs& args, int position) {
  const int rows = position / args.time_stride + 1;
  return args.selected != nullptr && rows > args.top_k ? args.top_k : rows;
}

template <class Shape>
struct AttentionTile {
  static constexpr int kRows = Shape::kRows;

  const AttentionArgs& args;
  unsigned char* const shared;
  const int lane, row_warp, column_warp;

  MLA_DEVICE AttentionTile(const AttentionArgs& a, unsigned char* memory)
      : args(a),
        shared(memory),
        lane(static_cast<int>(threadIdx.x) % 32),
        row_warp(static_cast<int>(threadIdx.x) / 32 % Shape::kRowWarps),
        column_warp(static_cast<int>(threadIdx.x) / 32 / Shape::kRowWarps) {}

  MLA_DEVICE unsigned char* Queries() const { return shared; }
  MLA_DEVICE unsigned char* Keys(int stage) const {
    return shared + Shape::kQueryBytes + stage * Shape::kStageBytes;
  }
  MLA_DEVICE unsigned char* Values(int stage) const {
    return Keys(stage) + (Shape::kValuesAreKeys ? 0 : Shape::kKeyBytes);
  }
  MLA_DEVICE unsigned char* ProbabilityRows() const {
    return Keys(Shape::kStages);
  }
  // [column warps, rows] each.
  MLA_DEVICE float* RowMax() const {
    return reinterpret_cast<float*>(ProbabilityRows() +
                                    Shape::kProbabilityBytes);
  }
  MLA_DEVICE float* RowSum() const {
    return RowMax() + Shape::kColumnWarps * kRows;
  }
  // [rows]: a row sees indices below.
  MLA_DEVICE int* RowLimit() const {
    return reinterpret_cast<int*>(RowSum() + Shape::kColumnWarps * kRows);
  }

  // Of the tile's 16 rows that this warp has: the lane's two.
  MLA_DEVICE int TileRow(int half) const {
    return row_warp * 16 + lane / 4 + half * 8;
  }

  // s = Q K^T, of this warp's 16 rows and kTokens / kColumnWarps tokens.
  MLA_DEVICE void Scores(const unsigned char* keys,
                         float (&s)[Shape::kScoreTiles][4]) const {
    constexpr int kChunks = Shape::kKeyDim / 8;
    MLA_UNROLL
    for (int n = 0; n < Shape::kScoreTiles; ++n) {
      MLA_UNROLL
      for (int i = 0; i < 4; ++i) s[n][i] = 0.0f;
    }
    const int q_row = row_warp * 16 + lane % 16;
    MLA_UNROLL
    for (int k = 0; k < Shape::kKeyDim / 32; ++k) {
      uint32_t low[4], high[4];
      LoadMatrix(low,
                 Queries() + ChunkOffset<kChunks>(q_row, lane / 16, k * 4));
      LoadMatrix(high,
                 Queries() + ChunkOffset<kChunks>(q_row, lane / 16, k * 4 + 2));
      MLA_UNROLL
      for (int n = 0; n < Shape::kScoreTiles; ++n) {
        const int token = (column_warp * Shape::kScoreTiles + n) * 8 + lane % 8;
        uint32_t b[4];
        LoadMatrix(b, keys + ChunkOffset<kChunks>(token, lane / 8, k * 4));
        MmaBf16(s[n], low, b[0], b[1]);
        MmaBf16(s[n], high, b[2], b[3]);
      }
    }
  }

  // o += P V, of this warp's 16 rows and kValueDim / kColumnWarps columns.
  MLA_DEVICE void Accumulate(const unsigned char* values,
                             float (&o)[Shape::kOutTiles][4]) const {
    constexpr int kProbabilityChunks = Shape::kTokens / 8;
    constexpr int kChunks =
        (Shape::kValuesAreKeys ? Shape::kKeyDim : Shape::kValueDim) / 8;
    MLA_UNROLL
    for (int k = 0; k < Shape::kTokens / 16; ++k) {
      uint32_t p[4];
      LoadMatrix(p, ProbabilityRows() +
                        ChunkOffset<kProbabilityChunks>(
                            row_warp * 16 + lane % 16, k * 2 + lane / 16));
      MLA_UNROLL
      for (int n = 0; n < Shape::kOutTiles / 2; ++n) {
        const int chunk = column_warp * Shape::kOutTiles + lane / 16;
        uint32_t b[4];
        LoadMatrixTransposed(
            b, values + ChunkOffset<kChunks>(k * 16 + lane % 16, chunk, n * 2));
        MmaBf16(o[n * 2], p, b[0], b[1]);
        MmaBf16(o[n * 2 + 1], p, b[2], b[3]);
      }
    }
  }

  // Masks and scales s, and leaves this warp's row maxima where all find them.
  MLA_DEVICE void ScaleAndMax(int first_index,
                              float (&s)[Shape::kScoreTiles][4]) {
    const int limit[2] = {RowLimit()[TileRow(0)], RowLimit()[TileRow(1)]};
    float largest[2] = {NegativeInfinity(), NegativeInfinity()};
    MLA_UNROLL
    for (int n = 0; n < Shape::kScoreTiles; ++n) {
      MLA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int index = first_index +
                          (column_warp * Shape::kScoreTiles + n) * 8 +
                          lane % 4 * 2 + i % 2;
        s[n][i] = index < limit[i / 2] ? s[n][i] * args.scale_log2
                                       : NegativeInfinity();
        largest[i / 2] = Max(largest[i / 2], s[n][i]);
      }
    }
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      largest[half] = Max(largest[half], ShuffleXor(largest[half], 1));
      largest[half] = Max(largest[half], ShuffleXor(largest[half], 2));
      if (lane % 4 == 0) {
        RowMax()[column_warp * kRows + TileRow(half)] = largest[half];
      }
    }
  }

  // Probabilities relative to the largest score so far; `shrink` is what
  // earlier ones have to be multiplied with.
  MLA_DEVICE void Probabilities(float (&s)[Shape::kScoreTiles][4],
                                float (&most)[2], float (&sum)[2],
                                float (&shrink)[2]) {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      float now = most[half];
      MLA_UNROLL
      for (int w = 0; w < Shape::kColumnWarps; ++w) {
        now = Max(now, RowMax()[w * kRows + TileRow(half)]);
      }
      const float base = now == NegativeInfinity() ? 0.0f : now;
      shrink[half] = Exp2(most[half] - base);
      most[half] = now;
      sum[half] *= shrink[half];
      MLA_UNROLL
      for (int n = 0; n < Shape::kScoreTiles; ++n) {
        const float p0 = Exp2(s[n][half * 2] - base);
        const float p1 = Exp2(s[n][half * 2 + 1] - base);
        sum[half] += p0 + p1;
        const int chunk = column_warp * Shape::kScoreTiles + n;
        *reinterpret_cast<uint32_t*>(
            ProbabilityRows() +
            ChunkOffset<Shape::kTokens / 8>(TileRow(half), chunk) +
            lane % 4 * 4) = PackBf16(p0, p1);
      }
    }
  }

  // The sums of all column warps. Ends with a barrier passed.
  MLA_DEVICE void ReduceSums(float (&sum)[2]) {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      sum[half] += ShuffleXor(sum[half], 1);
      sum[half] += ShuffleXor(sum[half], 2);
      if (lane % 4 == 0) {
        RowSum()[column_warp * kRows + TileRow(half)] = sum[half];
      }
    }
    SyncBlock();  // row sums of all column warps
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      sum[half] = 0.0f;
      MLA_UNROLL
      for (int w = 0; w < Shape::kColumnWarps; ++w) {
        sum[half] += RowSum()[w * kRows + TileRow(half)];
      }
    }
  }

  // Normalised results and their lse, where all find them: O in the place of
  // queries and keys, lse in that of the maxima. REQUIRES: nobody reads those.
  MLA_DEVICE void ShareResults(const float (&o)[Shape::kOutTiles][4],
                               const float (&most)[2], const float (&sum)[2]) {
    MLA_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = TileRow(half);
      const float inverse = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
      MLA_UNROLL
      for (int n = 0; n < Shape::kOutTiles; ++n) {
        const int column = (column_warp * Shape::kOutTiles + n) * 8;
        *Result(row, column + lane % 4 * 2) =
            make_float2(o[n][half * 2] * inverse, o[n][half * 2 + 1] * inverse);
      }
      if (column_warp == 0 && lane % 4 == 0) {
        RowMax()[row] = sum[half] > 0.0f ? most[half] + Log2(sum[half])
                                         : NegativeInfinity();
      }
    }
  }
  // Two columns, the even one first; rows are turned against each other so that
  // a fragment's eight lie in different banks.
  MLA_DEVICE float2* Result(int row, int column) const {
    return reinterpret_cast<float2*>(shared) +
           (row * Shape::kValueDim + (column ^ (row % 8 * 8))) / 2;
  }
};

// Where a packed row's results go. Made when they are there: the registers are
// O's until then.
struct OutputRow {
  const AttentionArgs& args;
  int64_t row;  // of the step
  int head;     // virtual
  int size;     // value length

  // Of the row `packed` of a span's group.
  MLA_DEVICE OutputRow(const AttentionArgs& a, int span, int group, int packed)
      : args(a) {
    const int first_head = a.first_head[group];
    const int heads = a.first_head[group + 1] - first_head;
    row = a.spans[span].first_row + packed / heads;
    head = first_head + packed % heads;
    size = a.value[0].length + a.value[1].length;
  }

  // Two values, from an even column on.
  MLA_DEVICE void Store(int column, float a, float b) const {
    const bool first = column < size, second = column + 1 < size;
    const int64_t at = row * args.out_row_stride +
                       static_cast<int64_t>(head) * args.out_head_stride +
                       column;
    if (args.out_f32 != nullptr) {
      if (first) args.out_f32[at] = a;
      if (second) args.out_f32[at + 1] = b;
    } else if (column < args.out_head_stride) {
      *reinterpret_cast<uint32_t*>(args.out_bf16 + at) =
          PackBf16(first ? a : 0.0f, second ? b : 0.0f);
    }
  }

  // What came of earlier keys.
  MLA_DEVICE float& lse() const {
    return args.state_lse[row * args.virtual_heads + head];
  }
  MLA_DEVICE float& state(int column) const {
    return args.state[(row * args.virtual_heads + head) * size + column];
  }
};

// Weights of two results with lse `a` and `b` in the result of both.
struct MergeWeights {
  float a, b, lse;
};
MLA_DEVICE MergeWeights Merge(float a, float b) {
  const float most = Max(a, b);
  if (most == NegativeInfinity()) return {0.0f, 0.0f, most};
  const float weight_a = Exp2(a - most), weight_b = Exp2(b - most);
  const float sum = weight_a + weight_b;
  return {weight_a / sum, weight_b / sum, most + Log2(sum)};
}

// What a tile is found by is read again for each one: the registers are O's.
template <class Shape>
MLA_DEVICE void LoadTile(const AttentionArgs& args, const AttentionWork& work,
                         const AttentionTile<Shape>& tile, int t) {
  const RowFinder find(args, work);
  const int first = work.begin + t * Shape::kTokens;
  const int stage = t % Shape::kStages;
  LoadRows<Shape, Shape::kKeyDim>(find, ViewOf(args.key, work.group), first,
                                  work.end, tile.Keys(stage));
  if (Shape::kValuesAreKeys) return;
  LoadRows<Shape, Shape::kValueDim>(find, ViewOf(args.value, work.group), first,
                                    work.end, tile.Values(stage));
}

// Everything of a piece but its end: `o` not normalised, `sum` of this lane's
// tokens only.
template <class Shape>
MLA_DEVICE void AttendPiece(const AttentionArgs& args,
                            const AttentionWork& work,
                            AttentionTile<Shape>& tile,
                            float (&o)[Shape::kOutTiles][4], float (&most)[2],
                            float (&sum)[2]) {
  auto is_tile = [&](int t) {
    return work.begin + t * Shape::kTokens < work.end;
  };
  SyncBlock();  // all have left what the piece before had in shared memory
  LoadQueries<Shape>(args, work, tile.Queries());
  if (is_tile(0)) LoadTile(args, work, tile, 0);
  CopyAsyncCommit();

  const int r = static_cast<int>(threadIdx.x);
  if (r < Shape::kRows) {
    const int token = (work.row0 + r) / GroupHeads(args, work.group);
    const int sees =
        VisibleRows(args, args.spans[work.span].first_position + token);
    tile.RowLimit()[r] = sees < work.end ? sees : work.end;
  }
  MLA_UNROLL
  for (int n = 0; n < Shape::kOutTiles; ++n) {
    MLA_UNROLL
    for (int i = 0; i < 4; ++i) o[n][i] = 0.0f;
  }
  for (int t = 0; is_tile(t); ++t) {
    CopyAsyncWait<0>();
    SyncBlock();  // the tile is there; all have left the next one's place
    if (is_tile(t + 1)) LoadTile(args, work, tile, t + 1);
    CopyAsyncCommit();

    float s[Shape::kScoreTiles][4], shrink[2];
    tile.Scores(tile.Keys(t % Shape::kStages), s);
    tile.ScaleAndMax(work.begin + t * Shape::kTokens, s);
    SyncBlock();  // row maxima of all column warps
    tile.Probabilities(s, most, sum, shrink);
    SyncBlock();  // their probabilities
    MLA_UNROLL
    for (int n = 0; n < Shape::kOutTiles; ++n) {
      MLA_UNROLL
      for (int i = 0; i < 4; ++i) o[n][i] *= shrink[i / 2];
    }
    tile.Accumulate(tile.Values(t % Shape::kStages), o);
  }
  CopyAsyncWait<0>();
}

// Takes the shared results where they belong, a warp per row.
template <class Shape>
MLA_DEVICE void StorePiece(const AttentionArgs& args, const AttentionWork& work,
                           const AttentionTile<Shape>& tile) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  MLA_KEEP_LOOP
  for (int r = warp; r < work.num_rows; r += Shape::kThreads / 32) {
    const float lse = tile.RowMax()[r];
    const OutputRow out(args, work.span, work.group, work.row0 + r);
    const int64_t slot = static_cast<int64_t>(work.slot) * Shape::kRows + r;
    const bool merges =
        work.slot < 0 && args.state != nullptr && !args.first_part;
    MergeWeights weights{0.0f, 1.0f, lse};
    if (merges) weights = Merge(out.lse(), lse);
    MLA_KEEP_LOOP
    for (int c = tile.lane * 2; c < Shape::kValueDim; c += 64) {
      const float2 x = *tile.Result(r, c);
      if (work.slot >= 0) {
        *reinterpret_cast<float2*>(args.partial + slot * Shape::kValueDim + c) =
            x;
        continue;
      }
      float y[2] = {x.x, x.y};
      for (int i = 0; args.state != nullptr && i < 2; ++i) {
        if (c + i >= out.size) continue;
        y[i] *= weights.b;
        if (merges) y[i] += out.state(c + i) * weights.a;
        out.state(c + i) = y[i];
      }
      if (args.last_part) out.Store(c, y[0], y[1]);
    }
    SyncWarp();  // all lanes have read the lse
    if (tile.lane != 0) continue;
    if (work.slot >= 0) {
      args.partial_lse[slot] = lse;
    } else if (args.state != nullptr) {
      out.lse() = weights.lse;
    }
  }
}

// Grid: one block per entry of work_begin but the last; Shape::kThreads
// threads, Shape::kSharedBytes of shared memory.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kMinBlocks)
    AttentionKernel(const __grid_constant__ AttentionArgs args) {
  MLA_SHARED_MEMORY(shared);
  AttentionTile<Shape> tile(args, shared);
  const int block = static_cast<int>(blockIdx.x);

  for (int w = args.work_begin[block]; w < args.work_begin[block + 1]; ++w) {
    float o[Shape::kOutTiles][4];
    float most[2] = {NegativeInfinity(), NegativeInfinity()};
    float sum[2] = {0.0f, 0.0f};
    AttendPiece<Shape>(args, args.work[w], tile, o, most, sum);
    tile.ReduceSums(sum);
    tile.ShareResults(o, most, sum);
    SyncBlock();  // results of all warps
    StorePiece(args, args.work[w], tile);
  }
}

// Puts partial results together, a warp per packed row. Grid: num_work blocks
// of 32 * 8 threads for each 8 rows of a tile: [num_work, kRows / 8].
template <class Shape>
__global__ void __launch_bounds__(256)
    CombineKernel(const __grid_constant__ CombineArgs combine) {
  const AttentionArgs& args = combine.attention;
  const CombineWork work = combine.work[blockIdx.x];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int tile_row =
      static_cast<int>(blockIdx.y) * 8 + static_cast<int>(threadIdx.x) / 32;
  if (tile_row >= work.num_rows) return;
  const OutputRow out(args, work.span, work.group, work.row0 + tile_row);

  auto at = [&](int slot) {
    return static_cast<int64_t>(work.first_slot + slot) * Shape::kRows +
           tile_row;
  };
  float most = NegativeInfinity();
  for (int i = lane; i < work.num_slots; i += 32) {
    most = Max(most, args.partial_lse[at(i)]);
  }
  most = WarpMax(most);
  const float base = most == NegativeInfinity() ? 0.0f : most;
  float sum = 0.0f;
  for (int i = lane; i < work.num_slots; i += 32) {
    sum += Exp2(args.partial_lse[at(i)] - base);
  }
  sum = WarpSum(sum);
  const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;

  float o[Shape::kValueDim / 32];
  MLA_UNROLL
  for (int i = 0; i < Shape::kValueDim / 32; ++i) o[i] = 0.0f;
  for (int slot = 0; slot < work.num_slots; ++slot) {
    const float weight = Exp2(args.partial_lse[at(slot)] - base) * inverse;
    const float* part = args.partial + at(slot) * Shape::kValueDim;
    MLA_UNROLL
    for (int i = 0; i < Shape::kValueDim / 64; ++i) {
      o[2 * i] += weight * part[i * 64 + lane * 2];
      o[2 * i + 1] += weight * part[i * 64 + lane * 2 + 1];
    }
  }
  MLA_UNROLL
  for (int i = 0; i < Shape::kValueDim / 64; ++i) {
    out.Store(i * 64 + lane * 2, o[2 * i], o[2 * i + 1]);
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ATTENTION_CUH_

// Scores of the tokens that a query may attend to (DeepSeek-V3.2, 2512.02556,
// section 2.1): I_t of SelectArgs in kernels/cuda/cache_args.h.
//
// A thread per token: heads in their order, of each the elements in theirs, in
// float32; the query in shared memory, a part at a time. A score depends on its
// own query and token: not on the grid, nor on what else runs. Queries that see
// no more than top_k tokens need no scores, and get none.
#ifndef MLA_KERNELS_CUDA_INDEX_SCORES_CUH_
#define MLA_KERNELS_CUDA_INDEX_SCORES_CUH_

#include "kernels/cuda/cache_args.h"
#include "kernels/cuda/cache_rows.cuh"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kScoreThreads = 256;
constexpr int kScoreHeads = 16;      // at once, their sums in registers
constexpr int kScoreElements = 128;  // of each, at once in shared memory
constexpr int kScoreSharedBytes = kScoreHeads * kScoreElements * 4;

MLA_DEVICE int VisibleTokens(const SelectArgs& args, int64_t row) {
  return args.positions[row] + 1;
}

// Elements [first, first + kScoreElements) of heads [head, head + kScoreHeads)
// of a query, zeros where there are none, by all threads.
MLA_DEVICE void StageQuery(const SelectArgs& args, const float* query, int head,
                           int first, float* staged) {
  for (int i = static_cast<int>(threadIdx.x); i < kScoreHeads * kScoreElements;
       i += kScoreThreads) {
    const int h = head + i / kScoreElements;
    const int e = first + i % kScoreElements;
    staged[i] = h < args.heads && e < args.index.length
                    ? query[static_cast<int64_t>(h) * args.index.length + e]
                    : 0.0f;
  }
}

// Elements [e, e + 8) of a key, zeros behind its end.
template <bool kChunks>
MLA_DEVICE void LoadKey(const SelectArgs& args, const unsigned char* row, int e,
                        float (&key)[8]) {
  const int at = args.index.offset + e;
  const RowFormat& format = args.cache.format;
  if constexpr (kChunks) {
    const uint4 bits =
        *reinterpret_cast<const uint4*>(Bf16Element(format, row, at));
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
    MLA_UNROLL
    for (int i = 0; i < 4; ++i) {
      key[2 * i] = FloatOfBits(pairs[i] << 16);
      key[2 * i + 1] = FloatOfBits(pairs[i] & 0xffff0000u);
    }
  } else {
    MLA_UNROLL
    for (int i = 0; i < 8; ++i) {
      key[i] =
          e + i < args.index.length ? LoadElement(format, row, at + i) : 0.0f;
    }
  }
}

// sums[h] += the staged elements of head h . the key's, which begin at `first`.
template <bool kChunks>
MLA_DEVICE void AddProducts(const SelectArgs& args, const unsigned char* row,
                            int first, const float* staged,
                            float (&sums)[kScoreHeads]) {
  MLA_KEEP_LOOP
  for (int e = 0; e < kScoreElements && first + e < args.index.length; e += 8) {
    float key[8];
    LoadKey<kChunks>(args, row, first + e, key);
    MLA_UNROLL
    for (int h = 0; h < kScoreHeads; ++h) {
      const float* q = staged + h * kScoreElements + e;
      MLA_UNROLL
      for (int i = 0; i < 8; i += 4) {
        const float4 x = *reinterpret_cast<const float4*>(q + i);
        sums[h] += x.x * key[i];
        sums[h] += x.y * key[i + 1];
        sums[h] += x.z * key[i + 2];
        sums[h] += x.w * key[i + 3];
      }
    }
  }
}

// kChunks: keys are bf16 and lie in whole chunks of 16 bytes.
// Grid: [rows, any] blocks of kScoreThreads, kScoreSharedBytes.
template <bool kChunks>
__global__ void __launch_bounds__(kScoreThreads, 2)
    ScoreKernel(const __grid_constant__ SelectArgs args) {
  MLA_SHARED_MEMORY(shared);
  auto* staged = reinterpret_cast<float*>(shared);
  const auto row = static_cast<int64_t>(blockIdx.x);
  const int tokens = VisibleTokens(args, row);
  if (tokens <= args.top_k) return;
  const int32_t* table = args.block_tables + args.tables[row];
  const float* query =
      args.queries.data + row * static_cast<int64_t>(args.queries.stride);
  const float* weights =
      args.weights.data + row * static_cast<int64_t>(args.weights.stride);

  const int64_t skip = static_cast<int64_t>(gridDim.y) * kScoreThreads;
  int64_t first = static_cast<int64_t>(blockIdx.y) * kScoreThreads;
  for (; first < tokens; first += skip) {
    const int64_t t = first + static_cast<int>(threadIdx.x);
    const bool is_there = t < tokens;
    const unsigned char* key =
        is_there ? CachedRow(args.cache, table, static_cast<int>(t)) : nullptr;
    float score = 0.0f;
    for (int head = 0; head < args.heads; head += kScoreHeads) {
      float sums[kScoreHeads];
      MLA_UNROLL
      for (int h = 0; h < kScoreHeads; ++h) sums[h] = 0.0f;
      for (int e = 0; e < args.index.length; e += kScoreElements) {
        SyncBlock();  // all have done with what is staged
        StageQuery(args, query, head, e, staged);
        SyncBlock();
        if (is_there) AddProducts<kChunks>(args, key, e, staged, sums);
      }
      MLA_UNROLL
      for (int h = 0; h < kScoreHeads; ++h) {
        if (head + h >= args.heads) continue;
        // A NaN stays one.
        score += weights[head + h] * (sums[h] < 0.0f ? 0.0f : sums[h]);
      }
    }
    if (is_there) args.scores[row * args.max_tokens + t] = score;
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_INDEX_SCORES_CUH_

// Sorts pairs by expert, and cuts the experts' rows into tiles. What it
// computes: SortArgs in kernels/cuda/moe_args.h.
//
// SortPairsKernel, one block: a counting sort. Each warp has consecutive pairs
// and counts of its own, so that ranks of equal experts come from pairs' order
// alone: what earlier warps have, what the warp had, and the lanes before.
#ifndef MLA_KERNELS_CUDA_MOE_SORT_CUH_
#define MLA_KERNELS_CUDA_MOE_SORT_CUH_

#include "kernels/cuda/moe_args.h"
#include "kernels/cuda/primitives.h"

namespace mla::kernels::cuda {

constexpr int kSortMaxThreads = 1024;
constexpr int kSortSharedInts = 48 * 1024 / 4;  // at most

// Shared memory, in ints: counts [warps, experts]; rows and tiles of all
// experts before, [experts + 1] each.
inline int SortSharedInts(int warps, int experts) {
  return warps * experts + 2 * (experts + 1);
}
// As many warps as there is work and memory for; 0: experts are too many.
inline int SortWarps(int pairs, int experts) {
  int warps = kSortMaxThreads / 32;
  while (warps > 1 && (warps - 1) * 32 >= pairs) --warps;
  while (warps > 0 && SortSharedInts(warps, experts) > kSortSharedInts) --warps;
  return warps;
}

// The sum of the values of lanes up to this one.
MLA_DEVICE int SumThroughLane(int v) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  MLA_UNROLL
  for (int i = 1; i < 32; i *= 2) {
    const int before = Shuffle(v, (lane - i) & 31);
    if (lane >= i) v += before;
  }
  return v;
}

struct PairSort {
  const SortArgs& args;
  int* const counts;  // [warps, experts]
  int* const first;   // [experts + 1]
  int* const first_tile;
  const int tid, lane, warp, threads;

  MLA_DEVICE PairSort(const SortArgs& a, unsigned char* shared)
      : args(a),
        counts(reinterpret_cast<int*>(shared)),
        first(counts + static_cast<int>(blockDim.x) / 32 * a.num_experts),
        first_tile(first + a.num_experts + 1),
        tid(static_cast<int>(threadIdx.x)),
        lane(tid % 32),
        warp(tid / 32),
        threads(static_cast<int>(blockDim.x)) {}

  // Calls f(pair, expert) for this warp's pairs, 32 of them at a time, by all
  // lanes: an expert that there is not is num_experts.
  template <class F>
  MLA_DEVICE void ForPairs(F f) const {
    const int64_t per_warp =
        (static_cast<int64_t>(args.pairs) + threads - 1) / threads * 32;
    const int64_t begin = warp * per_warp;
    for (int64_t i = begin; i < begin + per_warp && i < args.pairs; i += 32) {
      int e = args.num_experts;
      if (i + lane < args.pairs) {
        const int32_t id = args.experts[i + lane];
        if (id >= 0 && id < e) e = id;
      }
      f(i + lane, e);
    }
  }

  // Counts become those of earlier warps, `first` totals. By all threads.
  MLA_DEVICE void Count() const {
    for (int i = tid; i < threads / 32 * args.num_experts; i += threads) {
      counts[i] = 0;
    }
    SyncBlock();
    ForPairs([&](int64_t, int e) {
      if (e < args.num_experts) {
        AtomicAdd(counts + warp * args.num_experts + e, 1);
      }
    });
    SyncBlock();  // all warps' counts
    for (int e = tid; e < args.num_experts; e += threads) {
      int total = 0;
      for (int w = 0; w < threads / 32; ++w) {
        int* count = counts + w * args.num_experts + e;
        const int own = *count;
        *count = total;
        total += own;
      }
      first[e] = total;
    }
  }

  // Totals become rows before, and tiles before. By the first warp.
  MLA_DEVICE void AddUp() const {
    int rows = 0, tiles = 0;
    for (int at = 0; at < args.num_experts; at += 32) {
      const int e = at + lane;
      const int own = e < args.num_experts ? first[e] : 0;
      const int own_tiles = (own + args.tile_rows - 1) / args.tile_rows;
      const int through = SumThroughLane(own);
      const int tiles_through = SumThroughLane(own_tiles);
      if (e < args.num_experts) {
        first[e] = rows + through - own;
        first_tile[e] = tiles + tiles_through - own_tiles;
      }
      rows += Shuffle(through, 31);
      tiles += Shuffle(tiles_through, 31);
    }
    if (lane == 0) {
      first[args.num_experts] = rows;
      first_tile[args.num_experts] = tiles;
    }
  }

  // REQUIRES: there are more tiles than t.
  MLA_DEVICE ExpertTile TileAt(int t) const {
    int e = 0, end = args.num_experts;  // tile t is of [e, end)
    while (end - e > 1) {
      const int middle = (e + end) / 2;
      (first_tile[middle] <= t ? e : end) = middle;
    }
    const int row = first[e] + (t - first_tile[e]) * args.tile_rows;
    const int rows = first[e + 1] - row;
    return {e, row, rows < args.tile_rows ? rows : args.tile_rows};
  }

  MLA_DEVICE void StoreTiles() const {
    const int tiles = first_tile[args.num_experts];
    for (int t = tid; t < args.max_tiles; t += threads) {
      args.tiles[t] = t < tiles ? TileAt(t) : ExpertTile();
    }
  }

  MLA_DEVICE void StorePositions() const {
    int* own = counts + warp * args.num_experts;  // taken before, and so far
    ForPairs([&](int64_t pair, int e) {
      const bool is_sorted = e < args.num_experts;
      uint32_t same = Ballot(is_sorted);  // lanes of this expert
      for (int bit = 1; bit < args.num_experts; bit *= 2) {
        const uint32_t with_bit = Ballot((e & bit) != 0);
        same &= (e & bit) != 0 ? with_bit : ~with_bit;
      }
      if (pair < args.pairs) {
        args.position[pair] =
            is_sorted ? first[e] + own[e] + BitsSet(same & ((1u << lane) - 1))
                      : -1;
      }
      SyncWarp();  // all have read the counts
      if (is_sorted && same >> lane == 1) own[e] += BitsSet(same);
      SyncWarp();
    });
  }
};

// Grid: one block of SortWarps warps, SortSharedInts.
__global__ void __launch_bounds__(kSortMaxThreads)
    SortPairsKernel(const __grid_constant__ SortArgs args) {
  MLA_SHARED_MEMORY(shared);
  const PairSort sort(args, shared);
  sort.Count();
  SyncBlock();  // totals
  if (sort.warp == 0) sort.AddUp();
  SyncBlock();  // rows and tiles before
  sort.StoreTiles();
  sort.StorePositions();
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_MOE_SORT_CUH_

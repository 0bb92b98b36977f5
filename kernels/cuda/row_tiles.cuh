// Brings tiles of query and cache rows into shared memory, as bf16.
//
// A tile's row is kDim elements in chunks of 8 (16 bytes); chunk c of row r
// stands at place c ^ (r % 8) of its row, so that the eight rows that ldmatrix
// reads at once lie in different banks. What is not there is zero: rows behind
// the piece's end, and elements behind the layout's. Neither is read, for they
// may be anything.
#ifndef MLA_KERNELS_CUDA_ROW_TILES_CUH_
#define MLA_KERNELS_CUDA_ROW_TILES_CUH_

#include "kernels/cuda/attention_args.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/primitives.h"
#include "kernels/cuda/row_elements.cuh"

namespace mla::kernels::cuda {

// Byte offset of a chunk in a tile of rows of kChunks chunks. `variable` may
// differ by lane and `constant` is one of an unrolled loop's: they are apart so
// that the loop's addresses differ from one another by constants.
// REQUIRES: no bit set in both.
template <int kChunks>
MLA_DEVICE int ChunkOffset(int row, int variable, int constant) {
  static_assert(kChunks % 8 == 0, "whole swizzles");
  const int lane = row * kChunks + (variable ^ (row & 7));
  return ((lane ^ (constant & 7)) + (constant & ~7)) * 16;
}
// The same, and for the narrow rows of the probabilities.
template <int kChunks>
MLA_DEVICE int ChunkOffset(int row, int chunk) {
  constexpr int kMask = kChunks >= 8 ? 7 : kChunks - 1;
  const int turn = kChunks >= 8 ? row : row / (8 / kChunks);
  return (row * kChunks + (chunk ^ (turn & kMask))) * 16;
}

// A key or a value: two slices of a cache row, one behind the other.
struct RowView {
  int32_t first[2];  // elements
  int32_t length[2];

  MLA_DEVICE int size() const { return length[0] + length[1]; }
  // Where the view's element stands in the row.
  MLA_DEVICE int Offset(int element) const {
    return element < length[0] ? first[0] + element
                               : first[1] + element - length[0];
  }
};

MLA_DEVICE RowView ViewOf(const Slice (&slices)[2], int group) {
  RowView view;
  for (int i = 0; i < 2; ++i) {
    view.first[i] = slices[i].offset + group * slices[i].group_stride;
    view.length[i] = slices[i].length;
  }
  return view;
}

MLA_DEVICE int GroupHeads(const AttentionArgs& args, int group) {
  return args.first_head[group + 1] - args.first_head[group];
}

// Finds the cache rows that a piece's queries see.
struct RowFinder {
  const AttentionArgs& args;
  const int32_t* block_table;
  // The step's row that the piece is for and the index that newest_rows has,
  // -1 for none: they matter only where queries see rows of their own.
  int query;
  int newest;

  MLA_DEVICE RowFinder(const AttentionArgs& a, const AttentionWork& work)
      : args(a) {
    const AttentionSpan& span = a.spans[work.span];
    const int token = work.row0 / GroupHeads(a, work.group);
    block_table =
        a.block_tables == nullptr ? nullptr : a.block_tables + span.block_table;
    query = span.first_row + token;
    newest = a.newest_rows == nullptr
                 ? -1
                 : (span.first_position + token) / a.time_stride;
  }

  MLA_DEVICE const unsigned char* operator()(int index) const {
    if (index == newest) {
      return args.newest_rows + static_cast<int64_t>(query) * args.format.bytes;
    }
    int row = index;
    if (args.selected != nullptr) {
      row = args.selected[static_cast<int64_t>(query) * args.top_k + index];
    }
    if (block_table == nullptr) {
      return args.cache +
             static_cast<int64_t>(row - args.first_cached) * args.format.bytes;
    }
    const int block = block_table[row / args.block_rows];
    return args.cache + static_cast<int64_t>(block) * args.block_bytes +
           static_cast<int64_t>(row % args.block_rows) * args.format.bytes;
  }
};

// Eight elements of the view from `chunk` on, whatever their type and place.
MLA_DEVICE uint4 GatherChunk(const RowFormat& format, const unsigned char* row,
                             const RowView& view, int chunk) {
  float x[8];
  MLA_UNROLL
  for (int i = 0; i < 8; ++i) {
    const int element = chunk * 8 + i;
    x[i] = 0.0f;
    if (element >= view.size()) continue;
    x[i] = LoadElement(format, row, view.Offset(element));
  }
  return make_uint4(PackBf16(x[0], x[1]), PackBf16(x[2], x[3]),
                    PackBf16(x[4], x[5]), PackBf16(x[6], x[7]));
}

// One view of the rows at indices [first, first + Shape::kTokens), of which
// those before `end` are there, by all threads of the block.
template <class Shape, int kDim>
MLA_DEVICE void LoadRows(const RowFinder& find, const RowView& view, int first,
                         int end, unsigned char* tile) {
  constexpr int kChunks = kDim / 8;
  constexpr int kThreadsPerRow = Shape::kThreads / Shape::kTokens;
  const int tid = static_cast<int>(threadIdx.x);
  const int r = tid / kThreadsPerRow;
  const bool is_there = first + r < end;
  const unsigned char* row = is_there ? find(first + r) : find.args.cache;
  const int size = is_there ? view.size() : 0;
  MLA_KEEP_LOOP  // unrolled, its addresses take the registers of O
      for (int chunk = tid % kThreadsPerRow; chunk < kChunks;
           chunk += kThreadsPerRow) {
    unsigned char* dst = tile + ChunkOffset<kChunks>(r, chunk);
    const bool inside = chunk * 8 < size;
    if (Shape::kLoad == RowLoad::kAsync) {
      const int at = inside ? view.Offset(chunk * 8) : 0;
      CopyAsync16(dst, row + static_cast<int64_t>(at) * 2, inside ? 16 : 0);
      continue;
    }
    uint4 x = make_uint4(0, 0, 0, 0);
    if (inside) {
      x = Shape::kLoad == RowLoad::kCodes
              ? LoadChunk(find.args.format, row, view.Offset(chunk * 8))
              : GatherChunk(find.args.format, row, view, chunk);
    }
    *reinterpret_cast<uint4*>(dst) = x;
  }
}

// The piece's packed query rows.
template <class Shape>
MLA_DEVICE void LoadQueries(const AttentionArgs& args,
                            const AttentionWork& work, unsigned char* tile) {
  constexpr int kChunks = Shape::kKeyDim / 8;
  const AttentionSpan& span = args.spans[work.span];
  const int first_head = args.first_head[work.group];
  const int heads = GroupHeads(args, work.group);
  const int size = args.key[0].length + args.key[1].length;
  MLA_KEEP_LOOP
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kRows * kChunks;
       i += Shape::kThreads) {
    const int r = work.row0 + i / kChunks;
    const int chunk = i % kChunks;
    const bool inside = i / kChunks < work.num_rows && chunk * 8 < size;
    const uint16_t* row = args.q;
    if (inside) {
      row += (span.first_row + r / heads) * args.q_row_stride +
             static_cast<int64_t>(first_head + r % heads) * args.q_head_stride +
             chunk * 8;
    }
    CopyAsync16(tile + ChunkOffset<kChunks>(i / kChunks, chunk), row,
                inside ? 16 : 0);
  }
}

}  // namespace mla::kernels::cuda

#endif  // MLA_KERNELS_CUDA_ROW_TILES_CUH_

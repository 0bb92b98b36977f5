// One tile of cached rows, and the running softmax of the queries that read it:
// what AttendDecode and AttendPrefill share.
// Threads: one task owns each.
#ifndef MLA_KERNELS_CPU_ATTENTION_TILE_H_
#define MLA_KERNELS_CPU_ATTENTION_TILE_H_

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/row_codec.h"
#include "kernels/views.h"

namespace mla::kernels {

inline constexpr float kLog2E = 1.4426950408889634f;

// Pointers to rows [first, first + count) of a sequence, of `dtype` elements.
struct TileRows {
  const void* row[kTileTokens];
  int first = 0;
  int count = 0;
  DType dtype;

  TileRows(const CacheRows& cache, const int32_t* block_table, int first,
           int end)
      : first(first),
        count(std::min(end - first, kTileTokens)),
        dtype(cache.format.dtype) {
    for (int t = 0; t < count; ++t) row[t] = cache.Row(block_table, first + t);
  }
};

// Which elements of a row are read: [begin, end).
struct ElementRange {
  int begin = 0;
  int end = 0;

  explicit ElementRange(const Slice& slice, int group = 0)
      : begin(slice.offset + group * slice.group_stride),
        end(begin + slice.length) {}
  // Of the keys and values that a group reads.
  ElementRange(const AttnLayout& layout, int group)
      : ElementRange(layout.key[0], group) {
    for (const Slice* s :
         {&layout.key[1], &layout.value[0], &layout.value[1]}) {
      if (s->length == 0) continue;
      const ElementRange other(*s, group);
      begin = std::min(begin, other.begin);
      end = std::max(end, other.end);
    }
  }
};

// Turns quantised rows into floats, of which only the range is there. The
// floats live in `scratch`, which a tile's owner rewinds.
inline void Widen(const InnerKernels& inner, Scratch& scratch,
                  const RowFormat& format, const ElementRange& range,
                  TileRows& rows) {
  if (format.quantised == 0) return;
  const int count = range.end - range.begin;
  float* floats = scratch.Take<float>(size_t(rows.count) * count);
  for (int t = 0; t < rows.count; ++t) {
    float* to = floats + size_t(t) * count;
    LoadRow(inner, format, static_cast<const std::byte*>(rows.row[t]),
            range.begin, count, to);
    rows.row[t] = to - range.begin;
  }
  rows.dtype = DType::kF32;
}

// Keys transposed and values, as floats; see AttendTileArgs.
struct Tile {
  float* k_t;
  float* v;
  int v_stride;

  Tile(Scratch& scratch, int key_length, int value_length)
      : k_t(scratch.Take<float>(size_t{kTileTokens} * key_length)),
        v(scratch.Take<float>(size_t{kTileTokens} * WholePanels(value_length))),
        v_stride(WholePanels(value_length)) {
    if (v_stride > value_length) {
      std::fill_n(v, size_t{kTileTokens} * v_stride, 0.0f);
    }
  }
};

// Fills `dst`, `stride` apart, with the slices that `group` reads of each row.
inline void GatherSlices(const InnerKernels& inner, const Slice (&slices)[2],
                         int group, const TileRows& rows, float* dst,
                         size_t stride) {
  const DType dtype = rows.dtype;
  for (int t = 0; t < rows.count; ++t) {
    float* out = dst + t * stride;
    for (const Slice& slice : slices) {
      const int offset = slice.offset + group * slice.group_stride;
      inner.to_float(
          dtype,
          static_cast<const std::byte*>(rows.row[t]) + offset * SizeOf(dtype),
          slice.length, out);
      out += slice.length;
    }
  }
}

// Fills the tile with the slices that `group` reads.
inline void LoadSlices(const InnerKernels& inner, const AttnLayout& layout,
                       int group, const TileRows& rows, Tile& tile) {
  float* keys = tile.k_t;
  for (const Slice& slice : layout.key) {
    inner.pack_keys(rows.dtype, rows.row, rows.count,
                    slice.offset + group * slice.group_stride, slice.length,
                    keys);
    keys += size_t{kTileTokens} * slice.length;
  }
  GatherSlices(inner, layout.value, group, rows, tile.v, tile.v_stride);
}

// The same for keys that are built and rotated on read. Scratch is given back.
void LoadRotated(const InnerKernels& inner, Scratch& scratch,
                 const AttentionOp& op, int group, const TileRows& rows,
                 Tile& tile);

// Max, sum and output of `rows` queries over the tiles folded in so far.
struct RunningSoftmax {
  float* max;
  float* sum;
  float* out;  // [rows, width]
  int* visible;
  int rows;
  int width;  // of whole panels

  RunningSoftmax(Scratch& scratch, int rows, int value_length)
      : max(scratch.Take<float>(rows)),
        sum(scratch.Take<float>(rows)),
        out(scratch.Take<float>(size_t(rows) * WholePanels(value_length))),
        visible(scratch.Take<int>(rows)),
        rows(rows),
        width(WholePanels(value_length)) {
    Clear();
  }

  void Clear() {
    std::fill_n(max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, rows, 0.0f);
    std::fill_n(out, size_t(rows) * width, 0.0f);
  }

  void Fold(const InnerKernels& inner, const float* q, int key_length,
            const Tile& tile, int tokens) {
    inner.attend_tile({.rows = rows,
                       .q = q,
                       .q_stride = size_t(key_length),
                       .k_t = tile.k_t,
                       .key_length = key_length,
                       .v = tile.v,
                       .value_length = width,
                       .tokens = tokens,
                       .visible = visible,
                       .max = max,
                       .sum = sum,
                       .out = out,
                       .out_stride = size_t(width)});
  }

  // dst = out / sum of one row.
  void Normalize(int row, float* dst) const {
    const float scale = 1.0f / sum[row];
    const float* src = out + size_t(row) * width;
    for (int i = 0; i < width; ++i) dst[i] = src[i] * scale;
  }
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_CPU_ATTENTION_TILE_H_

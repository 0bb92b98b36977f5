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

  TileRows(DType dtype, int count) : count(count), dtype(dtype) {}
  TileRows(const CacheRows& cache, const int32_t* block_table, int first,
           int end)
      : first(first),
        count(std::clamp(end - first, 0, kTileTokens)),
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

// Whether attention over such rows is computed in bf16.
inline bool UsesBF16(const InnerKernels& inner, const AttnLayout& layout,
                     const RowFormat& format) {
  const int odd = (layout.key[0].length | layout.key[1].length) % 2;
  return inner.bf16_attention() && format.dtype == DType::kBF16 &&
         !layout.rotate_on_read && odd == 0;
}

// Keys transposed and values: floats (AttendTileArgs) or pairs of bf16
// (AttendPairsArgs).
struct Tile {
  float* k_t = nullptr;
  float* v = nullptr;
  uint32_t* key_pairs = nullptr;
  uint32_t* value_pairs = nullptr;
  int key_length;
  int v_stride;

  Tile(Scratch& scratch, bool bf16, int key_length, int value_length)
      : key_length(key_length), v_stride(WholePanels(value_length)) {
    const size_t keys = size_t{kTileTokens} * key_length;
    const size_t values = size_t{kTileTokens} * v_stride;
    if (bf16) {
      key_pairs = scratch.Take<uint32_t>(keys / 2);
      value_pairs = scratch.Take<uint32_t>(values / 2);
      return;
    }
    k_t = scratch.Take<float>(keys);
    v = scratch.Take<float>(values);
    if (v_stride > value_length) std::fill_n(v, values, 0.0f);
  }

  bool bf16() const { return key_pairs != nullptr; }
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

// The slice as its group reads it.
inline RowSlice SliceOf(const Slice& slice, int group) {
  return {slice.offset + group * slice.group_stride, slice.length};
}

inline void PackValues(const InnerKernels& inner, const RowSlice& slice,
                       const TileRows& rows, uint32_t* dst) {
  inner.pack_value_pairs(rows.row, rows.count, slice.offset, slice.length, dst);
}

// Fills the tile with the slices that `group` reads.
inline void LoadSlices(const InnerKernels& inner, const AttnLayout& layout,
                       int group, const TileRows& rows, Scratch& scratch,
                       Tile& tile) {
  int at = 0;
  for (const Slice& s : layout.key) {
    const RowSlice slice = SliceOf(s, group);
    if (tile.bf16()) {
      inner.pack_key_pairs(rows.row, rows.count, slice.offset, slice.length,
                           tile.key_length / 2,
                           tile.key_pairs + size_t(at) / 2 * kPanel);
    } else {
      inner.pack_keys(rows.dtype, rows.row, rows.count, slice.offset,
                      slice.length, tile.k_t + size_t{kTileTokens} * at);
    }
    at += slice.length;
  }
  if (!tile.bf16()) {
    GatherSlices(inner, layout.value, group, rows, tile.v, tile.v_stride);
  } else if (layout.value[1].length == 0) {
    PackValues(inner, SliceOf(layout.value[0], group), rows, tile.value_pairs);
  } else {
    // Panels of columns may lie in both.
    const int length = layout.value_length();
    auto* joined = scratch.Take<bf16_t>(size_t(rows.count) * length);
    TileRows whole = rows;
    for (int t = 0; t < rows.count; ++t) {
      bf16_t* to = joined + size_t(t) * length;
      whole.row[t] = to;
      for (const Slice& s : layout.value) {
        const RowSlice slice = SliceOf(s, group);
        to = std::copy_n(static_cast<const bf16_t*>(rows.row[t]) + slice.offset,
                         slice.length, to);
      }
    }
    PackValues(inner, {0, length}, whole, tile.value_pairs);
  }
}

// The same for keys that are built and rotated on read. Scratch is given back.
void LoadRotated(const InnerKernels& inner, Scratch& scratch,
                 const AttentionOp& op, int group, const TileRows& rows,
                 Tile& tile);

// Queries, one after the other: floats, or bf16 for a tile of pairs.
struct Queries {
  const float* floats = nullptr;
  const bf16_t* halves = nullptr;
  int stride;
};

// Max, sum and output of `rows` queries over the tiles folded in so far.
struct RunningSoftmax {
  float* max;
  float* sum;
  float* out;  // [rows, width]
  int rows;
  int width;

  // In memory of the caller's.
  RunningSoftmax(float* max, float* sum, float* out, int rows, int width)
      : max(max), sum(sum), out(out), rows(rows), width(width) {
    std::fill_n(max, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, rows, 0.0f);
    std::fill_n(out, size_t(rows) * width, 0.0f);
  }
  RunningSoftmax(Scratch& scratch, int rows, int width)
      : RunningSoftmax(scratch.Take<float>(rows), scratch.Take<float>(rows),
                       scratch.Take<float>(size_t(rows) * width), rows, width) {
  }

  // Of rows from `first` on.
  SoftmaxState From(int first) const {
    return {max + first, sum + first, out + size_t(first) * width,
            size_t(width)};
  }

  // Rows [first, first + count), which see `visible` tokens of the tile.
  void Fold(const InnerKernels& inner, int first, int count, const Queries& q,
            const Tile& tile, int tokens, const int* visible) {
    const auto stride = size_t(q.stride);
    if (tile.bf16()) {
      inner.attend_pairs({count, q.halves, stride, tile.key_pairs,
                          tile.key_length / 2, tile.value_pairs, tile.v_stride,
                          tokens, visible, From(first)});
    } else {
      inner.attend_tile({count, q.floats, stride, tile.k_t, tile.key_length,
                         tile.v, tile.v_stride, tokens, visible, From(first)});
    }
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

// Views of activations and of cached rows: pointers and shapes, owning nothing.
#ifndef MLA_KERNELS_VIEWS_H_
#define MLA_KERNELS_VIEWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/row_format.h"

namespace mla::kernels {

// rows x cols floats, `stride` apart.
struct Rows {
  float* data = nullptr;
  int rows = 0;
  int cols = 0;
  size_t stride = 0;

  float* operator[](int row) const { return data + row * stride; }
  Rows Columns(int first, int count) const {
    return {data + first, rows, count, stride};
  }
  Rows Slice(int first, int count) const {
    return {data + first * stride, count, cols, stride};
  }
};

// One layer's rows in the block pool: block b's token t lies at
// data + b * block_bytes + t * row_bytes.
struct CacheRows {
  std::byte* data = nullptr;
  size_t block_bytes = 0;
  int block_tokens = 0;
  RowFormat format;

  size_t row_bytes() const { return static_cast<size_t>(format.bytes); }
  std::byte* Row(const int32_t* block_table, int position) const {
    return data + block_table[position / block_tokens] * block_bytes +
           position % block_tokens * row_bytes();
  }
};

// Consecutive tokens of one sequence among a step's rows.
struct SequenceSpan {
  int first_row = 0;
  int num_rows = 0;
  int first_position = 0;
  const int32_t* block_table = nullptr;  // covers first_position + num_rows
  const int32_t* tokens = nullptr;       // the sequence's, from position 0 on
};

}  // namespace mla::kernels

#endif  // MLA_KERNELS_VIEWS_H_

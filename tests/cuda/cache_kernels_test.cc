// Writing and gathering cached rows, against their definition
// (kernels/cuda/cache_args.h): where every element lies is computed anew, and
// all bytes of what a kernel may write are compared, gaps too. Copies and
// rounding to bf16 are exact, so there is no tolerance.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "cuda_host/control.h"
#include "kernels/cuda/launch/cache.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Bytes;
using cuda_host::CachedRows;
using cuda_host::Element;
using cuda_host::InEveryOrder;
using cuda_host::ToDevice;
using cuda_host::ToHost;
using cuda_host::WithGaps;
using cuda_host::WithOneNan;
using ::mla::testing::RandomFloats;

// ---- writing

void CheckWrite(const CachedRows& cache, const std::vector<float>& x,
                const std::vector<int32_t>& blocks) {
  const auto rows = static_cast<int>(blocks.size());
  std::vector<int32_t> positions;
  for (int i = 0; i < rows; ++i) {  // no two the same
    positions.push_back(i / cache.num_blocks + 3 * cache.block_tokens);
  }
  const Bytes found = InEveryOrder([&] {
    WriteRowsArgs args;
    auto* memory = ToDevice(Bytes(cache.bytes(), 0xa5));
    args.cache = cache.Args(memory);
    args.x = cuda_host::GappedRows(ToDevice(x), rows, cache.width);
    args.positions = ToDevice(positions);
    args.blocks = ToDevice(blocks);
    EXPECT_EQ(LaunchWriteRows(args, nullptr), cudaSuccess);
    return ToHost(memory, cache.bytes());
  });
  Bytes expected(cache.bytes(), 0xa5);
  for (int i = 0; i < rows; ++i) {
    for (int c = 0; blocks[i] >= 0 && c < cache.width; ++c) {
      const float value = x[size_t(i) * (cache.width + 3) + c];
      const size_t at =
          cache.At(blocks[i], positions[i] % cache.block_tokens, c);
      cache.type.Store(value, expected, at);
    }
  }
  EXPECT_TRUE(WithOneNan(found, cache.type) == WithOneNan(expected, cache.type))
      << cache.Name() << ", " << rows << " rows";
}

TEST(WriteRowsKernel, PutsEveryRowInItsPlaceAndNothingElse) {
  for (const bool f32 : {false, true}) {
    for (const int width : {1, 7, 33, 300}) {
      for (const int rows : {1, 3, 67}) {
        CachedRows cache{width, 16, 1, {f32}};
        std::vector<int32_t> blocks;
        for (int i = 0; i < rows; ++i) {
          blocks.push_back(i % 5 == 1 ? -1 : 7 - i % 8);
        }
        CheckWrite(cache,
                   WithGaps(RandomFloats(size_t(rows) * (width + 3), 3), width),
                   blocks);
      }
    }
  }
}

TEST(WriteRowsKernel, RoundsToNearestEven) {
  using Limits = std::numeric_limits<float>;
  const std::vector<float> x = {0.0f,
                                -0.0f,
                                1.0f,
                                0x1.01p0f,
                                0x1.03p0f,
                                0x1.02p0f,
                                0x1.010002p0f,
                                0x1.00fffep0f,
                                -0x1.01p0f,
                                -0x1.030002p0f,
                                NAN,
                                -NAN,
                                INFINITY,
                                -INFINITY,
                                Limits::max(),
                                0x1.fep127f,
                                0x1.fefffep127f,
                                0x1.ffp127f,
                                Limits::lowest(),
                                Limits::min(),
                                Limits::denorm_min(),
                                -0x1.8p-133f,
                                0x1p-134f,
                                0x1.000002p-134f};
  const auto width = static_cast<int>(x.size());
  std::vector<float> padded = x;
  padded.resize(width + 3, NAN);
  for (const bool f32 : {false, true}) {
    CheckWrite(CachedRows{width, 16, 1, {f32}}, padded, {4});
  }
}

TEST(WriteRowsKernel, NanStaysInItsRow) {
  std::vector<float> x = RandomFloats(size_t{3} * 10, 2);
  std::fill_n(x.begin() + 10, 10, NAN);
  CheckWrite(CachedRows{7, 16, 1, {false}}, WithGaps(x, 7), {1, 2, 3});
}

// ---- gathering

struct Gather {
  CachedRows cache;
  Slice slice;
  int pieces = 1, padded = 0, first = 0, count = 1;
  bool to_f32 = false;
  int piece_gap = 0, row_gap = 0;  // elements behind each
  bool in_chunks = false;          // which kernel is expected

  int piece_stride() const { return padded + piece_gap; }
  int64_t row_stride() const {
    return int64_t{pieces} * piece_stride() + row_gap;
  }

  void Check() const {
    SCOPED_TRACE(cache.Name() + ", " + std::to_string(count) + " rows' " +
                 std::to_string(pieces) + " pieces of " +
                 std::to_string(slice.length));
    const Element out = {to_f32};
    const int rows = cache.block_rows();
    std::vector<int32_t> table;
    for (int b = 0; b <= (first + count - 1) / rows; ++b) {
      table.push_back(cache.num_blocks - 1 - b);
    }
    ASSERT_LE(static_cast<int>(table.size()), cache.num_blocks);
    // All that is not asked for is NaN.
    Bytes memory(cache.bytes(), 0xff);
    Bytes expected((count * row_stride() + 8) * out.bytes(), 0xa5);
    std::vector<float> values = RandomFloats(977, 6);
    values[3] = NAN;
    size_t next = 0;
    for (int i = 0; i < count; ++i) {
      const int index = first + i;
      for (int p = 0; p < pieces; ++p) {
        for (int c = 0; c < padded; ++c) {
          float value = 0.0f;
          if (c < slice.length) {
            const size_t at =
                cache.At(table[index / rows], index % rows,
                         slice.offset + p * slice.group_stride + c);
            const bool again = slice.group_stride == 0 && p > 0;
            if (!again) cache.type.Store(values[next++ % 977], memory, at);
            value = static_cast<float>(cache.type.Load(memory, at));
          }
          out.Store(value, expected,
                    (i * row_stride() + p * piece_stride() + c) * out.bytes());
        }
      }
    }
    const Bytes found = InEveryOrder([&] {
      auto* y = ToDevice(Bytes(expected.size(), 0xa5));
      GatherRowsArgs args;
      args.cache = cache.Args(ToDevice(memory));
      args.block_table = ToDevice(table);
      args.first = first;
      args.count = count;
      args.slice = slice;
      args.pieces = pieces;
      if (to_f32) {
        args.y_f32 = reinterpret_cast<float*>(y);
      } else {
        args.y = reinterpret_cast<uint16_t*>(y);
      }
      args.y_row_stride = row_stride();
      args.y_piece_stride = piece_stride();
      args.padded = padded;
      EXPECT_EQ(LaunchGatherRows(args, nullptr), cudaSuccess);
      const Bytes bytes = ToHost(y, expected.size());
      if (cuda_host::kCounts) {
        EXPECT_EQ(cuda_host::ExecutedLaunches("GatherRowsKernel<true>"),
                  in_chunks ? 1 : 0);
      }
      return bytes;
    });
    EXPECT_TRUE(WithOneNan(found, out) == WithOneNan(expected, out));
  }
};

TEST(GatherRowsKernel, CopiesChunksOfBf16) {
  const CachedRows cache{576, 16, 1, {false}};
  for (const int count : {1, 3, 67}) {
    Gather{cache, {0, 0, 512}, 1, 512, 5, count, false, 0, 0, true}.Check();
    Gather{cache, {512, 0, 64}, 1, 80, 0, count, false, 0, 8, true}.Check();
    Gather{cache, {8, 144, 128}, 4, 128, 7, count, false, 64, 8, true}.Check();
    Gather{cache, {8, 0, 16}, 3, 24, 1, count, false, 0, 0, true}.Check();
  }
  Gather{
      CachedRows{24, 12, 3, {false}}, {8, 0, 8}, 1, 8, 2, 9, false, 0, 0, true}
      .Check();
}

TEST(GatherRowsKernel, CopiesAnything) {
  for (const bool from_f32 : {false, true}) {
    for (const bool to_f32 : {false, true}) {
      for (const int count : {1, 3, 67}) {
        const CachedRows odd{33, 16, 1, {from_f32}},
            even{32, 12, 4, {from_f32}, 24};
        Gather{odd, {1, 0, 7}, 1, 7, 3, count, to_f32, 0, 1}.Check();
        Gather{odd, {2, 10, 7}, 3, 9, 0, count, to_f32, 1, 3}.Check();
        Gather{odd, {5, 0, 1}, 2, 4, 6, count, to_f32}.Check();
        Gather{odd, {32, 0, 1}, 1, 1, 0, count, to_f32}.Check();
        Gather{even, {0, 16, 15}, 2, 16, 5, count, to_f32}.Check();
        Gather{even, {4, 0, 0}, 1, 3, 0, count, to_f32, 2, 0}.Check();
      }
    }
  }
}

TEST(GatherRowsKernel, TakesChunksOnlyWhereAllIsInChunks) {
  const CachedRows cache{64, 16, 1, {false}};
  Gather{cache, {8, 16, 8}, 2, 16, 0, 3, false, 8, 8, true}.Check();
  Gather{cache, {4, 16, 8}, 2, 16, 0, 3, false, 8, 8}.Check();
  Gather{cache, {8, 12, 8}, 2, 16, 0, 3, false, 8, 8}.Check();
  Gather{cache, {8, 16, 4}, 2, 16, 0, 3, false, 8, 8}.Check();
  Gather{cache, {8, 16, 8}, 2, 12, 0, 3, false, 4, 8}.Check();
  Gather{cache, {8, 16, 8}, 2, 16, 0, 3, false, 4, 0}.Check();
  Gather{cache, {8, 16, 8}, 2, 16, 0, 3, false, 8, 4}.Check();
  Gather{CachedRows{60, 16, 1, {false}}, {8, 16, 8}, 2, 16, 0, 3}.Check();
  Gather{CachedRows{64, 16, 1, {false}, 8, 56}, {8, 16, 8}, 2, 16, 0, 3}
      .Check();
  // Strides between pieces that are not there do not matter.
  Gather{cache, {8, 3, 8}, 1, 16, 0, 3, false, 5, 3, true}.Check();
}

TEST(CacheKernels, NoRowsLaunchNothing) {
  cuda_host::ResetDevice();
  EXPECT_EQ(LaunchWriteRows(WriteRowsArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(LaunchMergeRows(MergeRowsArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(LaunchGatherRows(GatherRowsArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
  GatherRowsArgs args;
  args.count = 1;
  args.slice.length = 8;
  args.padded = 7;
  EXPECT_EQ(LaunchGatherRows(args, nullptr), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace mla::kernels::cuda

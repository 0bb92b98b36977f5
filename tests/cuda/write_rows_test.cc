// Rows that are normed and rotated on their way into the cache: the bits of the
// kernels that do one thing each, which row_kernels_test and cache_kernels_test
// hold to their definitions.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "cuda_host/control.h"
#include "kernels/cuda/launch/cache.h"
#include "kernels/cuda/launch/rows.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Bytes;
using cuda_host::InEveryOrder;
using cuda_host::ToDevice;
using cuda_host::ToHost;
using ::mla::testing::RandomFloats;

constexpr int kBlockTokens = 16, kBlocks = 4;

struct Case {
  std::string name;
  AttnLayout layout;
  std::vector<RowNorm> norms;  // w: not null where there is one, ...
  std::vector<RowTurn> turns;
  int dim = 0, sets = 1;
};

RowNorm Norm(int first, int count, int stride, int length, bool layer_norm) {
  static const float kSome = 0;
  return {first,
          count,
          stride,
          length,
          1e-5f,
          &kSome,
          layer_norm ? &kSome : nullptr};
}

std::vector<Case> Cases() {
  const AttnLayout gqa = GqaLayout(8, 4, 40);
  return {
      {"deepseek",
       MlaLayout(2, 512, 64),
       {Norm(0, 1, 0, 512, false)},
       {{512, 1, 0}},
       64},
      {"odd", MlaLayout(2, 37, 6), {Norm(0, 1, 0, 37, false)}, {{37, 1, 0}}, 6},
      // DeepSeek-V3.2's latent and the indexer's key.
      {"indexer",
       MlaLayout(2, 130, 16, 48),
       {Norm(0, 1, 0, 130, false), Norm(146, 1, 0, 48, true)},
       {{130, 1, 0}, {146, 1, 0}},
       16},
      // Qwen3's norms of each key; a set of angles for every second head.
      {"groups", gqa, {Norm(0, 4, 80, 40, false)}, {{0, 4, 80}}, 40, 2},
      {"rotated only", gqa, {}, {{0, 4, 80}}, 24},
      {"normed only", MlaLayout(2, 300, 0), {Norm(0, 1, 0, 300, false)}, {}},
  };
}

// Everything that a call needs, in device memory.
struct Call {
  WriteRowsArgs args;
  unsigned char* memory = nullptr;
  size_t bytes = 0;

  Call(const Case& c, DType type, const std::vector<float>& x, int rows) {
    const RowFormat format = RowFormatOf(c.layout, type);
    bytes = size_t{kBlocks} * kBlockTokens * format.bytes;
    memory = ToDevice(Bytes(bytes, 0xa5));
    args.cache = {memory, int64_t{kBlockTokens} * format.bytes, kBlockTokens, 1,
                  format};
    args.x = cuda_host::GappedRows(ToDevice(x), rows, format.width);
    std::vector<int32_t> positions, blocks;
    for (int i = 0; i < rows; ++i) {
      positions.push_back(i + 3);
      blocks.push_back(i == 2 ? -1 : (i * 3 + 1) % kBlocks);
    }
    args.positions = ToDevice(positions);
    args.blocks = ToDevice(blocks);
    for (RowNorm norm : c.norms) {
      norm.w = ToDevice(RandomFloats(norm.length, 5));
      if (norm.bias != nullptr) {
        norm.bias = ToDevice(RandomFloats(norm.length, 6));
      }
      args.norms[args.num_norms++] = norm;
    }
    for (const RowTurn& turn : c.turns) args.turns[args.num_turns++] = turn;
    args.dim = c.dim;
    args.sets = c.sets;
    std::vector<float> cos =
        RandomFloats(size_t(rows) * c.sets * c.dim / 2 + 1, 8, 3.0f);
    std::vector<float> sin = cos;
    for (float& a : cos) a = std::cos(a);
    for (float& a : sin) a = std::sin(a);
    args.cos = ToDevice(cos);
    args.sin = ToDevice(sin);
  }

  Bytes Result() const { return ToHost(memory, bytes); }
};

Bytes OneByOne(Call call) {
  WriteRowsArgs& a = call.args;
  for (int i = 0; i < a.num_norms; ++i) {
    const RowNorm& n = a.norms[i];
    const Rows at = a.x.Columns(static_cast<int>(n.first),
                                a.x.cols - static_cast<int>(n.first));
    EXPECT_EQ(
        LaunchNorm({at, at, n.count, n.stride, n.length, n.w, n.bias, n.eps},
                   nullptr),
        cudaSuccess);
  }
  for (int i = 0; i < a.num_turns; ++i) {
    const RowTurn& t = a.turns[i];
    const Rows at = a.x.Columns(t.first, a.x.cols - t.first);
    EXPECT_EQ(LaunchRotate({at, t.count, t.stride, a.dim, a.sets, a.cos, a.sin},
                           nullptr),
              cudaSuccess);
  }
  a.num_norms = a.num_turns = 0;
  EXPECT_EQ(LaunchWriteRows(a, nullptr), cudaSuccess);
  return call.Result();
}

TEST(WriteRows, InOneGiveTheBitsOfOneByOne) {
  for (const Case& c : Cases()) {
    for (const DType type : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
      for (const int rows : {1, 5}) {
        const int width = c.layout.row_width;
        const std::vector<float> x = cuda_host::WithGaps(
            RandomFloats(size_t(rows) * (width + 3), rows, 4.0f), width);
        const Bytes expected = OneByOne(Call(c, type, x, rows));
        const Bytes found = InEveryOrder([&] {
          const Call call(c, type, x, rows);
          EXPECT_EQ(LaunchWriteRows(call.args, nullptr), cudaSuccess);
          return call.Result();
        });
        EXPECT_TRUE(found == expected)
            << c.name << ", " << Name(type) << ", " << rows << " rows";
      }
    }
  }
}

TEST(WriteRows, ANanStaysInItsRow) {
  const Case c = Cases()[0];
  const int width = c.layout.row_width;
  std::vector<float> x =
      cuda_host::WithGaps(RandomFloats(size_t{5} * (width + 3), 1), width);
  const auto write = [&] {
    const Call call(c, DType::kBF16, x, 5);
    EXPECT_EQ(LaunchWriteRows(call.args, nullptr), cudaSuccess);
    return call.Result();
  };
  const Bytes before = write();
  x[(width + 3) * 3 + 9] = NAN;
  const Bytes after = write();
  const int row_bytes = RowFormatOf(c.layout, DType::kBF16).bytes;
  for (size_t at = 0; at < before.size(); at += row_bytes) {
    // Row 3 went to position 6 of block 2.
    const bool same =
        std::equal(before.begin() + at, before.begin() + at + row_bytes,
                   after.begin() + at);
    EXPECT_EQ(same, at / row_bytes != 2 * kBlockTokens + 6) << at / row_bytes;
  }
}

TEST(WriteRows, RowsWiderThanSharedMemoryAreRefusedTheirSteps) {
  Case c{"wide", MlaLayout(1, 20000, 64), {}, {{20000, 1, 0}}, 64};
  EXPECT_FALSE(CanPrepareRows(c.layout.row_width));
  const std::vector<float> x(c.layout.row_width + 3, 1.0f);
  Call call(c, DType::kBF16, x, 1);
  EXPECT_EQ(LaunchWriteRows(call.args, nullptr), cudaErrorInvalidValue);
  call.args.num_turns = 0;
  EXPECT_EQ(LaunchWriteRows(call.args, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace mla::kernels::cuda

// Rows in fp8 (kernels/row_format.h), written, gathered and scored, against
// their definition: codes by search among all of them, scales by trying powers
// of two. All bytes that a kernel may write are compared, padding too, so there
// is no tolerance but that of the scores' sums.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cuda_host/cached_rows.h"
#include "kernels/cuda/launch/cache.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Bytes;
using cuda_host::InEveryOrder;
using cuda_host::ToDevice;
using cuda_host::ToHost;
using ::mla::testing::RandomFloats;

constexpr int kBlockTokens = 16, kBlocks = 8;

// OCP OFP8's definition; no code for an infinity.
double Value(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 0x7f) == 0x7f) return NAN;
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, -9)
                               : std::ldexp(8 + mantissa, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

int Nearest(double x) {
  if (!std::isfinite(x)) return std::signbit(x) ? 0xff : 0x7f;
  int best = 0;
  for (int code = 1; code < 0x7f; ++code) {
    const double now = std::fabs(std::fabs(x) - Value(code));
    const double before = std::fabs(std::fabs(x) - Value(best));
    if (now < before || (now == before && code % 2 == 0)) best = code;
  }
  return std::signbit(x) ? best | 0x80 : best;
}

float SmallestScale(double most) {
  double scale = 0x1p-100;
  while (most / scale > 448) scale *= 2;
  return static_cast<float>(scale);
}

Bytes Expected(const RowFormat& f, const float* x, unsigned char untouched) {
  Bytes row(f.bytes, untouched);
  for (int first = 0; first < f.quantised; first += 128) {
    const int end = std::min(first + 128, f.quantised);
    double most = 0;
    for (int i = first; i < end; ++i) {
      if (!std::isnan(x[i])) most = std::max(most, std::fabs(double{x[i]}));
    }
    const float scale = SmallestScale(most);
    std::memcpy(&row[f.scales_at + first / 128 * 4], &scale, 4);
    for (int i = first; i < end; ++i) {
      row[i] = static_cast<unsigned char>(Nearest(double{x[i]} / scale));
    }
  }
  for (int i = f.quantised; i < f.width; ++i) {
    const uint16_t half = cuda_host::NearestBf16(x[i]);
    std::memcpy(&row[f.rest_at + (i - f.quantised) * 2], &half, 2);
  }
  return row;
}

CacheArgs Pool(const RowFormat& format, unsigned char* memory) {
  return {memory, int64_t{kBlockTokens} * format.bytes, kBlockTokens, 1,
          format};
}

void CheckWrite(const RowFormat& f, const std::vector<float>& x, int rows) {
  const size_t bytes = size_t{kBlocks} * kBlockTokens * f.bytes;
  std::vector<int32_t> blocks, positions;
  for (int i = 0; i < rows; ++i) {
    blocks.push_back(i % 7 == 3 ? -1 : kBlocks - 1 - i % kBlocks);
    positions.push_back(5 * kBlockTokens + i / kBlocks);
  }
  const Bytes found = InEveryOrder([&] {
    auto* memory = ToDevice(Bytes(bytes, 0xa5));
    WriteRowsArgs args;
    args.cache = Pool(f, memory);
    args.x = cuda_host::GappedRows(ToDevice(cuda_host::WithGaps(x, f.width)),
                                   rows, f.width);
    args.positions = ToDevice(positions);
    args.blocks = ToDevice(blocks);
    EXPECT_EQ(LaunchWriteRows(args, nullptr), cudaSuccess);
    return ToHost(memory, bytes);
  });
  Bytes expected(bytes, 0xa5);
  for (int i = 0; i < rows; ++i) {
    if (blocks[i] < 0) continue;
    const Bytes row = Expected(f, &x[size_t(i) * (f.width + 3)], 0xa5);
    const size_t at =
        (size_t(blocks[i]) * kBlockTokens + positions[i] % kBlockTokens) *
        f.bytes;
    std::copy(row.begin(), row.end(), expected.begin() + at);
  }
  EXPECT_TRUE(found == expected) << f.width << ", " << rows << " rows";
}

TEST(Fp8Rows, AreWrittenByTheirDefinition) {
  for (const auto& [latent, rope] :
       std::vector<std::pair<int, int>>{{1, 0},
                                        {5, 2},
                                        {127, 8},
                                        {128, 0},
                                        {129, 6},
                                        {512, 64},
                                        {1300, 0}}) {
    const RowFormat f = RowFormatOf(MlaLayout(1, latent, rope), DType::kF8E4M3);
    for (const int rows : {1, 20}) {
      std::vector<float> x = RandomFloats(size_t(rows) * (f.width + 3), latent);
      for (size_t i = 0; i < x.size(); i += 3) x[i] *= 1e-3f;
      for (size_t i = 0; i < x.size(); i += 5) x[i] *= 300.0f;
      CheckWrite(f, x, rows);
    }
  }
}

TEST(Fp8Rows, AreWrittenWhateverTheElements) {
  const RowFormat f = RowFormatOf(MlaLayout(1, 300, 4), DType::kF8E4M3);
  std::vector<float> x(f.width + 3, 0.0f);  // a scale of nothing but zeros
  x[130] = NAN;
  x[131] = 1.0f;
  x[257] = -0.0f;
  x[258] = 1e-30f;
  CheckWrite(f, x, 1);
  x[5] = 448.0f;
  x[6] = 17.0f;  // halfway between two codes
  x[7] = 19.0f;
  CheckWrite(f, x, 1);
}

// Codes and scales of any kind: what other programs wrote is read, too.
Bytes RandomRow(const RowFormat& f, int seed) {
  Bytes row(f.bytes, 0xff);
  const std::vector<float> x = RandomFloats(f.width, seed);
  for (int i = 0; i < f.quantised; ++i) {
    row[i] = static_cast<unsigned char>(Nearest(x[i] * 300));
  }
  for (int i = 0; i < f.quantised; i += 128) {
    const float scale = 0.003f * (1 + i / 128) * (1.5f + x[i]);
    std::memcpy(&row[f.scales_at + i / 128 * 4], &scale, 4);
  }
  for (int i = f.quantised; i < f.width; ++i) {
    const uint16_t half = cuda_host::NearestBf16(x[i]);
    std::memcpy(&row[f.rest_at + (i - f.quantised) * 2], &half, 2);
  }
  return row;
}

float ElementOf(const RowFormat& f, const Bytes& row, int i) {
  if (i >= f.quantised) {
    uint16_t half;
    std::memcpy(&half, &row[f.rest_at + (i - f.quantised) * 2], 2);
    return static_cast<float>(cuda_host::FromBf16(half));
  }
  float scale;
  std::memcpy(&scale, &row[f.scales_at + i / 128 * 4], 4);
  return static_cast<float>(Value(row[i])) * scale;
}

struct Filled {
  Bytes memory;
  std::vector<Bytes> rows;
  std::vector<int32_t> table;
};

Filled Fill(const RowFormat& f, int tokens) {
  Filled filled{Bytes(size_t{kBlocks} * kBlockTokens * f.bytes, 0xff), {}, {}};
  for (int b = 0; b < kBlocks; ++b) filled.table.push_back(kBlocks - 1 - b);
  for (int t = 0; t < tokens; ++t) {
    const Bytes& row = filled.rows.emplace_back(RandomRow(f, 50 + t));
    const size_t at = (size_t(filled.table[t / kBlockTokens]) * kBlockTokens +
                       t % kBlockTokens) *
                      f.bytes;
    std::copy(row.begin(), row.end(), filled.memory.begin() + at);
  }
  return filled;
}

TEST(Fp8Rows, AreGathered) {
  const RowFormat f = RowFormatOf(MlaLayout(1, 200, 24), DType::kF8E4M3);
  constexpr int kFirst = 5, kCount = 40;
  const Filled filled = Fill(f, kFirst + kCount);
  for (const Slice slice : {Slice{0, 0, 200}, Slice{200, 0, 24},
                            Slice{120, 40, 40}, Slice{7, 0, 210}}) {
    const int pieces = slice.group_stride > 0 ? 2 : 1;
    const int padded = (slice.length + 7) / 8 * 8;
    for (const bool to_f32 : {false, true}) {
      const cuda_host::Element out = {to_f32};
      Bytes expected(size_t{kCount} * pieces * padded * out.bytes());
      for (int i = 0; i < kCount * pieces * padded; ++i) {
        const int c = i % padded, p = i / padded % pieces;
        const Bytes& row = filled.rows[kFirst + i / padded / pieces];
        const int at = slice.offset + p * slice.group_stride + c;
        out.Store(c < slice.length ? ElementOf(f, row, at) : 0.0f, expected,
                  i * out.bytes());
      }
      const Bytes found = InEveryOrder([&] {
        auto* y = ToDevice(Bytes(expected.size(), 0xa5));
        GatherRowsArgs args;
        args.cache = Pool(f, ToDevice(filled.memory));
        args.block_table = ToDevice(filled.table);
        args.first = kFirst;
        args.count = kCount;
        args.slice = slice;
        args.pieces = pieces;
        if (to_f32) {
          args.y_f32 = reinterpret_cast<float*>(y);
        } else {
          args.y = reinterpret_cast<uint16_t*>(y);
        }
        args.y_row_stride = int64_t{pieces} * padded;
        args.y_piece_stride = padded;
        args.padded = padded;
        EXPECT_EQ(LaunchGatherRows(args, nullptr), cudaSuccess);
        return ToHost(y, expected.size());
      });
      EXPECT_TRUE(found == expected) << slice.offset << " " << to_f32;
    }
  }
}

// An indexer's keys stand behind the codes, as bf16.
TEST(Fp8Rows, AreScoredByTheirIndexKeys) {
  constexpr int kTokens = 60, kHeads = 3, kTopK = 7;
  for (const int dim : {16, 13}) {
    const AttnLayout layout = MlaLayout(1, 200, 24, dim);
    const RowFormat f = RowFormatOf(layout, DType::kF8E4M3);
    const Filled filled = Fill(f, kTokens);
    const std::vector<float> q = RandomFloats(size_t{kHeads} * dim, 3);
    const std::vector<float> w = RandomFloats(kHeads, 4);
    std::vector<std::pair<double, int>> scores;
    for (int t = 0; t < kTokens; ++t) {
      double score = 0;
      for (int h = 0; h < kHeads; ++h) {
        double product = 0;
        for (int i = 0; i < dim; ++i) {
          product += double{q[h * dim + i]} *
                     ElementOf(f, filled.rows[t], layout.index.offset + i);
        }
        score += w[h] * std::max(product, 0.0);
      }
      scores.emplace_back(-score, t);
    }
    std::sort(scores.begin(), scores.end());
    ASSERT_GT(scores[kTopK].first - scores[kTopK - 1].first, 1e-5);
    std::vector<int32_t> expected;
    for (int i = 0; i < kTopK; ++i) expected.push_back(scores[i].second);
    std::sort(expected.begin(), expected.end());
    const Bytes found = InEveryOrder([&] {
      SelectArgs args;
      args.cache = Pool(f, ToDevice(filled.memory));
      args.index = layout.index;
      args.queries = {ToDevice(q), 1, kHeads * dim, size_t{kHeads} * dim};
      args.weights = {ToDevice(w), 1, kHeads, kHeads};
      args.heads = kHeads;
      args.top_k = kTopK;
      args.positions = ToDevice(std::vector<int32_t>{kTokens - 1});
      args.tables = ToDevice(std::vector<int32_t>{0});
      args.block_tables = ToDevice(filled.table);
      args.scores = ToDevice(std::vector<float>(64));
      args.max_tokens = 64;
      args.selected = ToDevice(std::vector<int32_t>(kTopK));
      EXPECT_EQ(LaunchSelect(args, nullptr), cudaSuccess);
      return ToHost(reinterpret_cast<unsigned char*>(args.selected),
                    sizeof(int32_t) * kTopK);
    });
    std::vector<int32_t> chosen(kTopK);
    std::memcpy(chosen.data(), found.data(), found.size());
    EXPECT_EQ(chosen, expected) << dim;
  }
}

}  // namespace
}  // namespace mla::kernels::cuda

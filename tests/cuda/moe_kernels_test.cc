// The row-wise kernels around the experts, against their definitions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_host/moe_fixture.h"
#include "kernels/cuda/launch/moe.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::NearestBf16;
using cuda_host::OfBf16;
using mla::testing::RandomFloats;

class MoeKernels : public cuda_host::MoeFixture {
 protected:
  static void CheckSpread(int rows, int cols, int top_k, int x_stride,
                          int stride);
  static void CheckActivate(int rows, int half, int x_stride, int stride);
  static void CheckSum(int rows, int cols, int top_k, int x_stride,
                       int y_stride);

  // Where pairs go: some of them nowhere, the others anywhere.
  static std::vector<int32_t> Positions(int pairs) {
    std::vector<int32_t> position(pairs);
    std::iota(position.begin(), position.end(), 0);
    std::shuffle(position.begin(), position.end(), std::mt19937_64(3));
    for (int32_t& p : position) p = p % 5 == 3 ? -1 : p;
    return position;
  }
};

void MoeKernels::CheckSpread(int rows, int cols, int top_k, int x_stride,
                             int stride) {
  std::vector<float> x = RandomFloats(size_t(rows) * cols, 1);
  if (rows > 2) x[cols] = NAN;  // in row 1
  const std::vector<int32_t> position = Positions(rows * top_k);
  const size_t elements = position.size() * stride;
  const std::vector<uint16_t> found = InEveryOrder([&] {
    SpreadArgs args;
    args.x = RowsToDevice(x, rows, cols, x_stride);
    args.top_k = top_k;
    args.position = ToDevice(position);
    args.sorted = ToDevice(std::vector<uint16_t>(elements, kKeptBf16));
    args.stride = stride;
    EXPECT_EQ(LaunchSpread(args, nullptr), cudaSuccess);
    return ToHost(args.sorted, elements);
  });
  std::vector<int> source(position.size(), -1);
  for (size_t i = 0; i < position.size(); ++i) {
    if (position[i] >= 0) source[position[i]] = static_cast<int>(i) / top_k;
  }
  for (size_t i = 0; i < elements; ++i) {
    const int row = source[i / stride], c = static_cast<int>(i % stride);
    if (row < 0) {
      ASSERT_EQ(found[i], kKeptBf16);
    } else if (c < cols && std::isnan(x[row * cols + c])) {
      ASSERT_TRUE(std::isnan(OfBf16(found[i])));
    } else {
      ASSERT_EQ(OfBf16(found[i]),
                c < cols ? NearestBf16(x[row * cols + c]) : 0.0f)
          << i;
    }
  }
  Restart();
}

TEST_F(MoeKernels, SpreadsRoundedRows) {
  CheckSpread(1, 1, 1, 1, 8);
  CheckSpread(3, 33, 2, 40, 40);
  CheckSpread(67, 7, 3, 7, 24);
  CheckSpread(2, 513, 5, 515, 520);
}

// Bound: within 8 float32 roundings (2 of them ulps of an expf), and one to
// bf16, of the value; where exp overflows, silu(x) is below 89 / 2^128.
void MoeKernels::CheckActivate(int rows, int half, int x_stride, int stride) {
  std::vector<float> x = RandomFloats(size_t(rows) * half * 2, 2, 4.0f);
  x[0] = -100.0f;
  if (rows > 2) x[2 * half] = NAN, x[4 * half] = 100.0f;  // rows 1, 2
  const size_t elements = size_t(rows) * stride;
  const auto activate = [&](int first, int count) {
    ExpertActivateArgs args;
    args.x = RowsToDevice({x.begin() + first * 2 * half, x.end()}, count,
                          2 * half, x_stride);
    args.sorted = ToDevice(std::vector<uint16_t>(elements + 8, kKeptBf16));
    args.stride = stride;
    EXPECT_EQ(LaunchExpertActivate(args, nullptr), cudaSuccess);
    return ToHost(args.sorted, elements + 8);
  };
  const auto found = InEveryOrder([&] { return activate(0, rows); });
  EXPECT_EQ(found.back(), kKeptBf16);
  for (size_t i = 0; i < elements; ++i) {
    const auto row = i / stride, c = i % stride;
    const float value = OfBf16(found[i]);
    if (static_cast<int>(c) >= half) {
      ASSERT_EQ(found[i], 0) << i;
      continue;
    }
    const double gate = x[row * 2 * half + c];
    const double up = x[row * 2 * half + half + c];
    if (std::isnan(gate)) {
      ASSERT_TRUE(std::isnan(value));
      continue;
    }
    const double y = gate / (1 + std::exp(-gate)) * up;
    ASSERT_NEAR(
        value, y,
        (0x1.0p-8 + 0x1.0p-20) * std::fabs(y) + 89 * 0x1.0p-128 * std::fabs(up))
        << i;
  }
  const std::vector<uint16_t> last = activate(rows - 1, 1);
  EXPECT_TRUE(std::equal(last.begin(), last.begin() + stride,
                         found.begin() + static_cast<long>(elements) - stride));
  Restart();
}

TEST_F(MoeKernels, ActivatesGatedRows) {
  CheckActivate(1, 1, 2, 8);
  CheckActivate(3, 33, 71, 40);
  CheckActivate(67, 8, 16, 8);
  CheckActivate(2, 300, 601, 304);
}

// Bound: a product's rounding and those of the at most top_k sums it is in.
void MoeKernels::CheckSum(int rows, int cols, int top_k, int x_stride,
                          int y_stride) {
  const std::vector<int32_t> position = Positions(rows * top_k);
  const int pairs = rows * top_k;
  const std::vector<float> x = RandomFloats(size_t(rows) * cols, 1);
  const std::vector<float> weights = RandomFloats(pairs, 2);
  std::vector<float> results = RandomFloats(size_t(pairs) * cols, 3);
  if (rows > 2 && position[top_k] >= 0) {  // row 1's
    results[size_t(position[top_k]) * cols] = NAN;
  }
  const auto sum = [&](int first, int count) {
    ExpertSumArgs args;
    args.x = RowsToDevice({x.begin() + first * cols, x.end()}, count, cols,
                          x_stride);
    args.y = args.x;
    args.y.stride = y_stride;
    args.y.data = ToDevice(std::vector<float>(size_t(count) * y_stride, kKept));
    args.top_k = top_k;
    args.position = ToDevice(
        std::vector<int32_t>(position.begin() + first * top_k, position.end()));
    args.weights = ToDevice(
        std::vector<float>(weights.begin() + first * top_k, weights.end()));
    args.results = ToDevice(results);
    EXPECT_EQ(LaunchExpertSum(args, nullptr), cudaSuccess);
    return ToHost(args.y.data, size_t(count) * y_stride);
  };
  const auto found = InEveryOrder([&] { return sum(0, rows); });
  for (int i = 0; i < rows * y_stride; ++i) {
    const int row = i / y_stride, c = i % y_stride;
    if (c >= cols) {
      ASSERT_EQ(found[i], kKept) << i;
      continue;
    }
    double y = 0, magnitude = 0;
    for (int p = row * top_k; p < (row + 1) * top_k; ++p) {
      const double term = double{weights[p]} *
                          (position[p] < 0 ? x[row * cols + c]
                                           : results[position[p] * cols + c]);
      y += term;
      magnitude += std::fabs(term);
    }
    if (std::isnan(y)) {
      ASSERT_TRUE(std::isnan(found[i]));
    } else {
      ASSERT_NEAR(found[i], y, (top_k + 1) * 0x1.0p-24 * magnitude) << i;
    }
  }
  const std::vector<float> last = sum(rows - 1, 1);
  EXPECT_TRUE(SameBits(last, {found.end() - y_stride, found.end()}));
  Restart();
}

// Of the ranks of a sum, one adds the identities: 2 * 10 of 2 * 10 + 3 * 100.
TEST_F(MoeKernels, IdentitiesAreLeftOutWithoutTheirRows) {
  ExpertSumArgs args;
  args.y = {ToDevice(std::vector<float>{-1.0f}), 1, 1, 1};
  args.top_k = 2;
  args.position = ToDevice(std::vector<int32_t>{-1, 0});
  args.weights = ToDevice(std::vector<float>{3.0f, 2.0f});
  args.results = ToDevice(std::vector<float>{10.0f});
  args.x = {ToDevice(std::vector<float>{100.0f}), 1, 1, 1};
  EXPECT_EQ(LaunchExpertSum(args, nullptr), cudaSuccess);
  EXPECT_EQ(ToHost(args.y.data, 1)[0], 320.0f);
  args.x = {};
  EXPECT_EQ(LaunchExpertSum(args, nullptr), cudaSuccess);
  EXPECT_EQ(ToHost(args.y.data, 1)[0], 20.0f);
  Restart();
}

TEST_F(MoeKernels, SumsExpertsAndIdentities) {
  CheckSum(1, 1, 1, 3, 2);
  CheckSum(3, 33, 8, 35, 33);
  CheckSum(67, 130, 2, 130, 131);
  CheckSum(2, 300, 6, 301, 307);
}

TEST_F(MoeKernels, NoRowsLaunchNothing) {
  EXPECT_EQ(LaunchSpread(SpreadArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(LaunchExpertActivate(ExpertActivateArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(LaunchExpertSum(ExpertSumArgs(), nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

// Row-wise CUDA kernels where sizes, offsets and magnitudes are large.
//
// Bounds: with e = 2^-24, a thread's n / 256 terms, 5 shuffles and 8 warps make
// a sum whose every term has passed n / 256 + 13 additions at most, each off by
// e of what it has so far.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/device_values.h"
#include "cuda_host/engine.h"
#include "kernels/cuda/launch/rows.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::ToDevice;
using cuda_host::ToHost;
using mla::testing::RandomFloats;

constexpr double kE = 0x1p-24;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class RowLimits : public ::testing::Test {
 protected:
  RowLimits() { Restart(); }
  ~RowLimits() override { Restart(); }
  static void Restart() {
    cuda_host::ResetDevice();
    cuda_host::Engine::Get().set_schedule({});
  }
};

// More rows than a grid has blocks in y or z.
TEST_F(RowLimits, RowsAreAsManyAsWanted) {
  constexpr int kMany = 65536 + 3;
  std::vector<float> ramp(kMany);
  for (int r = 0; r < kMany; ++r) ramp[r] = static_cast<float>(r % 97 + 1);
  const Rows x{ToDevice(ramp), kMany, 1, 1};
  const Rows y{ToDevice(std::vector<float>(kMany, 2.0f)), kMany, 1, 1};
  ASSERT_EQ(LaunchMul(x, y, nullptr), cudaSuccess) << cuda_host::LastMessage();
  const std::vector<float> found = ToHost(y.data, kMany);
  for (int r = 0; r < kMany; ++r) ASSERT_EQ(found[r], 2 * ramp[r]) << r;
}

// Rows 6 GiB apart: the third begins behind 2^31 floats.
TEST_F(RowLimits, OffsetsAreOf64Bits) {
  constexpr size_t kStride = size_t{3} << 29;
  float* p = nullptr;
  ASSERT_EQ(cudaMalloc(&p, (2 * kStride + 8) * 4), cudaSuccess);
  const auto at = [&](int row) { return p + row * kStride; };
  for (int r = 0; r < 3; ++r) {
    const float values[2] = {static_cast<float>(r + 1), 8.0f};
    cudaMemcpy(at(r), values, 8, cudaMemcpyHostToDevice);
  }
  const Rows x{p, 3, 2, kStride};
  const Rows y{ToDevice(std::vector<float>(6, 2.0f)), 3, 2, 2};
  ASSERT_EQ(LaunchMul(x, y, nullptr), cudaSuccess);
  EXPECT_EQ(ToHost(y.data, 6), (std::vector<float>{2, 16, 4, 16, 6, 16}));
  // The table's row, and a cast's.
  const int32_t* ids = ToDevice(std::vector<int32_t>{2, 0, 1});
  ASSERT_EQ(LaunchEmbed({ids, p, 3, kStride, true, 1.0f, y}, nullptr),
            cudaSuccess);
  EXPECT_EQ(ToHost(y.data, 6), (std::vector<float>{3, 8, 1, 8, 2, 8}));
  ASSERT_EQ(LaunchGather(x, ids, y, nullptr), cudaSuccess);
  EXPECT_EQ(ToHost(y.data, 6), (std::vector<float>{3, 8, 1, 8, 2, 8}));
  ASSERT_EQ(LaunchCast(
                {y, 1, 0, 2, reinterpret_cast<uint16_t*>(p), 2 * kStride, 0, 2},
                nullptr),
            cudaSuccess);
  for (int r = 0; r < 3; ++r) {
    // 3, 1, 2 and 8 as bf16: the upper halves of their floats.
    const uint16_t halves[] = {0x4040, 0x3f80, 0x4000};
    uint16_t found[2] = {};
    cudaMemcpy(found, at(r), 4, cudaMemcpyDeviceToHost);
    EXPECT_EQ(found[0], halves[r]) << r;
    EXPECT_EQ(found[1], 0x4100) << r;
  }
}

// Where exp overflows, the gates are at their limits.
TEST_F(RowLimits, GatesAtTheirLimits) {
  const float gates[] = {1000.0f, 90.0f, 0.0f, -1000.0f};
  for (const float gate : gates) {
    const double sigmoid = gate > 0 ? 1.0 : gate == 0 ? 0.5 : 0.0;
    const Rows x{ToDevice(std::vector<float>{gate, 3.0f}), 1, 2, 2};
    const Rows y{ToDevice(std::vector<float>{kNan}), 1, 1, 1};
    ASSERT_EQ(LaunchSiluMul(x, y, nullptr), cudaSuccess);
    EXPECT_EQ(ToHost(y.data, 1)[0], sigmoid * gate * 3) << gate;
    ASSERT_EQ(LaunchSigmoidMul(x, y, nullptr), cudaSuccess);
    EXPECT_EQ(ToHost(y.data, 1)[0], sigmoid * 3) << gate;
    const Rows one{ToDevice(std::vector<float>{1.0f}), 1, 1, 1};
    const Rows scaled{ToDevice(std::vector<float>{7.0f}), 1, 1, 1};
    ASSERT_EQ(LaunchScaleBySigmoidDot(one, x.Columns(0, 1), scaled, nullptr),
              cudaSuccess);
    EXPECT_EQ(ToHost(scaled.data, 1)[0], sigmoid * 7) << gate;
  }
}

TEST_F(RowLimits, SoftmaxOfLogitsWhoseExponentialsOverflow) {
  struct Case {
    std::vector<float> logits, gates;
  };
  for (const Case& c : {Case{{1000, 0, -1000}, {1, 0, 0}},
                        Case{{0, 1000, 1000}, {0, 0.5f, 0.5f}},
                        Case{{-1000, -1000, -2000}, {0.5f, 0.5f, 0}},
                        Case{{-kInf, 5, -kInf}, {0, 1, 0}}}) {
    const Rows logits{ToDevice(c.logits), 1, 3, 3};
    const Rows y{ToDevice(std::vector<float>(6, 4.0f)), 1, 6, 6};
    ASSERT_EQ(LaunchScaleParts(logits, y, nullptr), cudaSuccess);
    const std::vector<float> found = ToHost(y.data, 6);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(found[i], 4 * c.gates[i / 2]) << i;
  }
}

// A dot product of few columns gates a row of many.
TEST_F(RowLimits, TheDotGateScalesAllColumns) {
  const Rows a{ToDevice(std::vector<float>{0.0f}), 1, 1, 1};
  const Rows x{ToDevice(std::vector<float>(700, 6.0f)), 1, 700, 700};
  ASSERT_EQ(LaunchScaleBySigmoidDot(a, a, x, nullptr), cudaSuccess);
  EXPECT_EQ(ToHost(x.data, 700), std::vector<float>(700, 3.0f));
}

// As long as DeepSeek's hidden rows, and far from 0: a LayerNorm that took the
// mean's square from that of squares would have lost most of the variance.
TEST_F(RowLimits, NormsOfLongRows) {
  constexpr int kLength = 7168;
  constexpr double kAdditions = kLength / 256 + 13;
  std::vector<float> x = RandomFloats(kLength, 1);
  for (float& v : x) v += 1000.0f;
  const std::vector<float> w = RandomFloats(kLength, 2);
  const std::vector<float> bias = RandomFloats(kLength, 3);
  const Rows in{ToDevice(x), 1, kLength, kLength};
  const Rows y{ToDevice(x), 1, kLength, kLength};
  for (const bool layer : {false, true}) {
    ASSERT_EQ(LaunchNorm({in, y, 1, 0, kLength, ToDevice(w),
                          layer ? ToDevice(bias) : nullptr, 1e-5f},
                         nullptr),
              cudaSuccess);
    const std::vector<float> found = ToHost(y.data, kLength);
    double mean = 0, most = 0, squares = 0;
    for (float v : x) {
      mean += layer ? double{v} / kLength : 0;
      most = std::max(most, std::fabs(double{v}));
    }
    for (float v : x) squares += (v - mean) * (v - mean);
    const double scale = 1 / std::sqrt(squares / kLength + double{1e-5f});
    // The mean is off by its additions and the division, and each difference by
    // a rounding: `off` in all. The squares' sum is so to first order by their
    // own roundings only, since differences from the mean cancel; what is left
    // is off^2 each, and 2 e of each difference's rounding. Half of it arrives
    // in the scale, with 5 roundings more.
    const double off = layer ? (kAdditions + 1) * kE * most : 0;
    const double relative =
        (kAdditions + 4) * kE / 2 + 5 * kE + off * off * scale * scale;
    for (int i = 0; i < kLength; ++i) {
      const double product = (x[i] - mean) * scale * w[i];
      const double expected = product + (layer ? bias[i] : 0.0);
      const double bound = std::fabs(product) * relative +
                           off * scale * std::fabs(w[i]) +
                           2 * kE * std::fabs(expected);
      ASSERT_LE(std::fabs(found[i] - expected), bound) << i << layer;
    }
  }
}

}  // namespace
}  // namespace mla::kernels::cuda

// What holds of every row-wise CUDA kernel: a row is computed alone, in every
// order of threads to the same bits, and gaps are neither read nor written.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/device_values.h"
#include "cuda_host/engine.h"
#include "cuda_host/every_order.h"
#include "kernels/cuda/launch/rows.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::ToDevice;
using cuda_host::ToHost;
using mla::testing::RandomFloats;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int kTableRows = 6;

bool SameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * 4) == 0;
}

// Operands of some rows: inputs a and b, y that is changed, an integer each.
struct Operands {
  Rows a, b, y;
  const int32_t* ints = nullptr;
  const float* shared = nullptr;  // of all rows: [kTableRows, 300]
};
using In = const Operands&;

struct Op {
  std::string name;
  int a_cols, b_cols, y_cols;
  std::function<cudaError_t(In)> launch;
  int a_gap = 3, b_gap = 3;
};

std::vector<Op> Ops() {
  return {
      {"RMSNorm of pieces", 1, 1, 890,
       [](In o) {
         return LaunchNorm({o.y, o.y, 3, 300, 290, o.shared, nullptr, 1e-6f},
                           nullptr);
       }},
      {"LayerNorm", 277, 1, 277,
       [](In o) {
         return LaunchNorm(
             {o.a, o.y, 1, 0, 277, o.shared, o.shared + 300, 1e-6f}, nullptr);
       }},
      {"Norm of two warps", 61, 1, 61,
       [](In o) {
         return LaunchNorm({o.a, o.y, 1, 0, 61, o.shared, nullptr, 1e-6f},
                           nullptr);
       }},
      {"Rotate", 6, 6, 4 * 11,
       [](In o) {
         return LaunchRotate({o.y, 4, 11, 6, 2, o.a.data, o.b.data}, nullptr);
       },
       0, 0},
      {"Cast", 3 * 11, 1, 3 * 8,
       [](In o) {
         return LaunchCast(
             {o.a, 3, 11, 9, reinterpret_cast<uint16_t*>(o.y.data),
              2 * static_cast<int64_t>(o.y.stride), 15, 13},
             nullptr);
       }},
      {"Embed", 1, 1, 300,
       [](In o) {
         return LaunchEmbed(
             {o.ints, o.shared, kTableRows, 300, true, 3.0f, o.y}, nullptr);
       }},
      {"SiluMul", 2 * 299, 1, 299,
       [](In o) { return LaunchSiluMul(o.a, o.y, nullptr); }},
      {"SiluMul in place", 1, 1, 2 * 33,
       [](In o) { return LaunchSiluMul(o.y, o.y.Columns(0, 33), nullptr); }},
      {"SigmoidMul", 2 * 33, 1, 33,
       [](In o) { return LaunchSigmoidMul(o.a, o.y, nullptr); }},
      {"AddScaled", 299, 1, 299,
       [](In o) { return LaunchAddScaled(o.a, 0.7f, o.y, nullptr); }},
      {"Mul", 299, 1, 299, [](In o) { return LaunchMul(o.a, o.y, nullptr); }},
      {"Gather", 1, 1, 300,
       [](In o) {
         return LaunchGather(
             {const_cast<float*>(o.shared), kTableRows, 300, 300}, o.ints, o.y,
             nullptr);
       }},
      {"ScaleBySigmoidDot", 277, 277, 700,
       [](In o) { return LaunchScaleBySigmoidDot(o.a, o.b, o.y, nullptr); }},
      {"ScaleParts", 3, 1, 3 * 41,
       [](In o) { return LaunchScaleParts(o.a, o.y, nullptr); }},
      {"ScaleByPosition", 1, 1, 33,
       [](In o) {
         return LaunchScaleByPosition(o.ints, 0.1f, 2, o.y, nullptr);
       }},
      {"Sinusoids", 1, 1, 33,
       [](In o) { return LaunchSinusoids(o.ints, 2, o.y, nullptr); }},
  };
}

// An op's rows on the host: `cols` and a gap of NaN behind each, or, where an
// op takes packed tables, none.
struct HostRows {
  int cols, gap;
  std::vector<float> values;

  HostRows(int rows, int cols, int gap, uint64_t seed)
      : cols(cols),
        gap(gap),
        values(RandomFloats(rows * size_t(width()), seed)) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (static_cast<int>(i) % width() >= cols) values[i] = kNan;
    }
  }
  int width() const { return cols + gap; }
  float* operator[](int row) { return values.data() + size_t(row) * width(); }
  void Fill(int row, float v) { std::fill_n((*this)[row], cols, v); }
  Rows OnDevice(int first, int count) const {
    const auto from = values.begin() + int64_t{first} * width();
    return {ToDevice(std::vector<float>(from, from + int64_t{count} * width())),
            count, cols, static_cast<size_t>(width())};
  }
};

class RowIndependence : public ::testing::Test {
 protected:
  static constexpr int kRows = 5;

  RowIndependence() { Restart(); }
  ~RowIndependence() override { Restart(); }
  static void Restart() {
    cuda_host::ResetDevice();
    cuda_host::Engine::Get().set_schedule({});
  }

  struct Inputs {
    HostRows a, b, y;
    std::vector<int32_t> ints = {3, 0, 5, 2, 1};
  };
  static Inputs MakeInputs(const Op& op) {
    return {HostRows(kRows, op.a_cols, op.a_gap, 1),
            HostRows(kRows, op.b_cols, op.b_gap, 2),
            HostRows(kRows, op.y_cols, 5, 3)};
  }
  // y, with gaps, after `op` on rows [first, first + count).
  static std::vector<float> Run(const Op& op, const Inputs& in, int first,
                                int count) {
    const auto ints = in.ints.begin() + first;
    Operands o = {in.a.OnDevice(first, count), in.b.OnDevice(first, count),
                  in.y.OnDevice(first, count),
                  ToDevice(std::vector<int32_t>(ints, ints + count)),
                  ToDevice(RandomFloats(kTableRows * 300, 4))};
    EXPECT_EQ(op.launch(o), cudaSuccess) << cuda_host::LastMessage();
    const std::vector<float> y = ToHost(o.y.data, size_t(count) * in.y.width());
    cuda_host::ResetDevice();
    return y;
  }
};

TEST_F(RowIndependence, ARowHasItsBitsWhateverIsBesideItInEveryOrder) {
  for (const Op& op : Ops()) {
    SCOPED_TRACE(op.name);
    Inputs in = MakeInputs(op);
    const int width = in.y.width();
    const std::vector<float> all = Run(op, in, 0, kRows);
    for (const cuda_host::Schedule& schedule : cuda_host::kSchedules) {
      cuda_host::Engine::Get().set_schedule(schedule);
      ASSERT_TRUE(
          SameBits(Run(op, in, 0, kRows).data(), all.data(), all.size()))
          << "in another order";
      for (int r = 0; r < kRows; ++r) {
        ASSERT_TRUE(
            SameBits(Run(op, in, r, 1).data(), &all[size_t(r) * width], width))
            << "row " << r << " alone";
      }
    }
    for (int r = 0; r < kRows; ++r) {
      const float* y = &all[size_t(r) * width];
      ASSERT_TRUE(
          SameBits(y + op.y_cols, in.y[r] + op.y_cols, width - op.y_cols))
          << "the gap of row " << r;
      // Gaps of inputs are NaN. A cast's row holds halves.
      for (int c = 0; op.name != "Cast" && c < op.y_cols; ++c) {
        ASSERT_TRUE(std::isfinite(y[c])) << "row " << r << ", column " << c;
      }
    }
  }
}

TEST_F(RowIndependence, ARowOfNansOrInfinitiesChangesNoOther) {
  for (const Op& op : Ops()) {
    SCOPED_TRACE(op.name);
    const std::vector<float> before = Run(op, MakeInputs(op), 0, kRows);
    for (const float bad : {kNan, kInf, -kInf}) {
      Inputs in = MakeInputs(op);
      for (HostRows* x : {&in.a, &in.b, &in.y}) x->Fill(2, bad);
      const std::vector<float> after = Run(op, in, 0, kRows);
      const size_t width = in.y.width();
      EXPECT_TRUE(SameBits(after.data(), before.data(), 2 * width)) << bad;
      EXPECT_TRUE(
          SameBits(&after[3 * width], &before[3 * width], (kRows - 3) * width))
          << bad;
    }
  }
}

TEST_F(RowIndependence, NoRowsLaunchNothing) {
  const std::vector<float> shared(600);  // an address: nobody reads it
  for (const Op& op : Ops()) {
    const auto none = [](int cols) {
      return Rows{nullptr, 0, cols, size_t(cols)};
    };
    EXPECT_EQ(op.launch({none(op.a_cols), none(op.b_cols), none(op.y_cols),
                         nullptr, shared.data()}),
              cudaSuccess)
        << op.name;
  }
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

}  // namespace
}  // namespace mla::kernels::cuda

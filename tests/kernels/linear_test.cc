// Projections against a plain double loop over unpacked weights.
//
// Tolerance: a sum of k products in float is off by at most
// (k + 1) * 2^-24 * sum |x w| in any order (Higham, section 3.1); paths that
// round weights or inputs are compared with the oracle of the same rounded
// ones. Where weights are steps above a minimum, both are summands: at most
// three times the largest weight of the group.
#include "kernels/cpu/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

struct Shape {
  int rows, outputs, inputs;
};
constexpr Shape kShapes[] = {{1, 1, 1},    {1, 16, 64},  {2, 17, 3},
                             {3, 15, 63},  {5, 100, 33}, {7, 48, 577},
                             {9, 33, 256}, {33, 40, 65}, {70, 129, 31}};

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kQ8_0,
                            DType::kQ4_1};

struct Problem {
  Problem(Shape shape, DType dtype)
      : shape(shape),
        dtype(dtype),
        x(RandomFloats(size_t(shape.rows) * shape.inputs, 1)),
        w(RandomFloats(size_t(shape.outputs) * shape.inputs, 2)),
        bias(RandomFloats(shape.outputs, 3)),
        packed(dtype, shape.outputs, shape.inputs) {
    for (int n = 0; n < shape.outputs; ++n) {
      packed.SetRow(n, &w[size_t(n) * shape.inputs]);
    }
  }

  Rows X() {
    return {x.data(), shape.rows, shape.inputs, size_t(shape.inputs)};
  }

  std::vector<float> Run(CpuContext& cpu) {
    std::vector<float> y(size_t(shape.rows) * shape.outputs, NAN);
    Linear(cpu, X(), packed, bias.data(),
           {y.data(), shape.rows, shape.outputs, size_t(shape.outputs)});
    return y;
  }

  // What `inner` multiplies with, in its own rounding.
  std::vector<float> RoundedInputs(const InnerKernels& inner, int m) const {
    std::vector<float> a(&x[size_t(m) * shape.inputs],
                         &x[size_t(m + 1) * shape.inputs]);
    if (dtype == DType::kBF16 && inner.bf16_inputs) {
      for (float& v : a) v = FromBF16(ToBF16(v));
    }
    if (!packed.quantised() || !inner.quantised_inputs) return a;
    for (int first = 0; first < shape.inputs; first += kGroup) {
      const int end = std::min(first + kGroup, shape.inputs);
      float top = 0;
      for (int k = first; k < end; ++k) top = std::max(top, std::abs(a[k]));
      for (int k = first; k < end; ++k) {
        a[k] = std::nearbyint(a[k] * (127 / top)) * (top / 127);
      }
    }
    return a;
  }

  void Check(const std::vector<float>& y, const InnerKernels& inner) const {
    std::vector<float> w(shape.inputs);
    for (int m = 0; m < shape.rows; ++m) {
      const std::vector<float> a = RoundedInputs(inner, m);
      for (int n = 0; n < shape.outputs; ++n) {
        packed.GetRow(n, w.data());
        const double largest = std::abs(*std::max_element(
            w.begin(), w.end(),
            [](float p, float q) { return std::abs(p) < std::abs(q); }));
        double sum = bias[n];
        double magnitude = std::abs(bias[n]);
        for (int k = 0; k < shape.inputs; ++k) {
          sum += double{a[k]} * w[k];
          magnitude += std::abs(double{a[k]}) *
                       (dtype == DType::kQ4_1 ? 3 * largest : std::abs(w[k]));
        }
        EXPECT_NEAR(y[size_t(m) * shape.outputs + n], sum,
                    (shape.inputs + 1) * 0x1.0p-24 * magnitude)
            << "row " << m << " output " << n;
      }
    }
  }

  Shape shape;
  DType dtype;
  std::vector<float> x, w, bias;
  PackedMatrix packed;
};

using LinearTest = mla::testing::IsaTest;
MLA_FOR_EACH_ISA(LinearTest);

TEST_P(LinearTest, MatchesADoubleLoop) {
  CpuContext cpu(GetParam(), 2);
  for (DType dtype : kTypes) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(::testing::Message()
                   << Name(dtype) << " " << shape.rows << "x" << shape.inputs
                   << " -> " << shape.outputs);
      Problem problem(shape, dtype);
      problem.Check(problem.Run(cpu), cpu.inner());
    }
  }
}

TEST_P(LinearTest, GivesARowTheSameBitsWithAnyOthersAndOnAnyThreads) {
  for (DType dtype : kTypes) {
    Problem problem({33, 200, 145}, dtype);
    CpuContext one(GetParam(), 1);
    const std::vector<float> together = problem.Run(one);
    CpuContext three(GetParam(), 3);
    EXPECT_EQ(problem.Run(three), together);
    for (int row = 0; row < problem.shape.rows; ++row) {
      std::vector<float> alone(200, NAN);
      Linear(one, problem.X().Slice(row, 1), problem.packed,
             problem.bias.data(), {alone.data(), 1, 200, 200});
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(), &together[row * 200]));
    }
  }
}

TEST_P(LinearTest, ShowsWhatIsNotANumber) {
  CpuContext cpu(GetParam(), 1);
  for (DType dtype : kTypes) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      Problem problem({2, 20, 70}, dtype);
      problem.x[70 + 33] = bad;
      const std::vector<float> y = problem.Run(cpu);
      for (int n = 0; n < 20; ++n) {
        EXPECT_TRUE(std::isfinite(y[n])) << Name(dtype);
        EXPECT_FALSE(std::isfinite(y[20 + n])) << Name(dtype) << " " << bad;
      }
    }
  }
}

TEST_P(LinearTest, GroupsMeetTheirOwnWeights) {
  CpuContext cpu(GetParam(), 2);
  Problem a({6, 20, 37}, DType::kBF16);
  Problem b({6, 20, 37}, DType::kBF16);
  for (int n = 0; n < 20; ++n) {
    b.w = RandomFloats(b.w.size(), 7);
    b.packed.SetRow(n, &b.w[n * 37]);
  }
  std::vector<float> y(6 * 20, NAN);
  GroupedLinear(
      cpu, a.X(),
      {{0, 2, &a.packed, a.bias.data()}, {2, 4, &b.packed, b.bias.data()}},
      {y.data(), 6, 20, 20});
  const std::vector<float> with_a = a.Run(cpu);
  const std::vector<float> with_b = b.Run(cpu);
  for (int i = 0; i < 6 * 20; ++i) {
    EXPECT_EQ(y[i], i < 2 * 20 ? with_a[i] : with_b[i]);
  }
}

// Whole numbers are summed exactly and rows are rounded alike, so bytes give
// the same on every Isa, up to what a fused multiply-add does not round.
TEST(Linear, RoundsInputsAlikeOnEveryIsa) {
  const std::vector<float> x = RandomFloats(77, 5);
  const size_t bytes = QuantisedRowBytes(77);
  std::vector<std::byte> expected(bytes), actual(bytes);
  GetInnerKernels(Isa::kReference).quantise_row(x.data(), 77, expected.data());
  for (Isa isa : mla::testing::SupportedIsas()) {
    GetInnerKernels(isa).quantise_row(x.data(), 77, actual.data());
    EXPECT_EQ(actual, expected) << Name(isa);
  }
}

TEST(PackedMatrix, ReturnsItsRowsRounded) {
  Problem f32({1, 19, 7}, DType::kF32);
  Problem bf16({1, 19, 7}, DType::kBF16);
  for (int n = 0; n < 19; ++n) {
    float row[7];
    f32.packed.GetRow(n, row);
    for (int k = 0; k < 7; ++k) EXPECT_EQ(row[k], f32.w[n * 7 + k]);
    bf16.packed.GetRow(n, row);
    for (int k = 0; k < 7; ++k) {
      EXPECT_EQ(row[k], FromBF16(ToBF16(bf16.w[n * 7 + k])));
    }
  }
}

}  // namespace
}  // namespace mla::kernels

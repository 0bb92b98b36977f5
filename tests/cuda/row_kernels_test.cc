// The row-wise CUDA kernels against their definitions in double.
//
// Bounds: with e = 2^-24, a sum of n terms in any order is off by n e of the
// sum of magnitudes; products, quotients, square roots by e each; exp, log and
// sigmoids by a few ulps, for which 8 e are allowed. What is stored as bf16 is
// off by 2^-8 of itself.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/engine.h"
#include "cuda_host/every_order.h"
#include "kernels/cuda/launch/rows.h"
#include "kernels/dtype.h"

namespace mla::kernels::cuda {
namespace {

constexpr double kE = 0x1p-24;
constexpr float kGap = -12345.0f;  // between rows: to be left alone

template <typename T>
class Array {
 public:
  explicit Array(const std::vector<T>& values) : size_(values.size()) {
    cudaMalloc(&data_, std::max<size_t>(1, size_ * sizeof(T)));
    Set(values);
  }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T* data() const { return static_cast<T*>(data_); }
  void Set(const std::vector<T>& values) {
    cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice);
  }
  std::vector<T> Get() const {
    std::vector<T> values(size_);
    cudaDeviceSynchronize();
    EXPECT_EQ(cudaMemcpy(values.data(), data_, size_ * sizeof(T),
                         cudaMemcpyDeviceToHost),
              cudaSuccess)
        << cuda_host::LastKernelError();
    return values;
  }

 private:
  void* data_ = nullptr;
  const size_t size_;
};

// Rows with a gap behind each, on host and device.
struct Values {
  Values(int rows, int cols, uint64_t seed, float scale = 1.0f)
      : rows(rows), cols(cols), host(size_t(rows) * (cols + 3), kGap) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < cols; ++c) (*this)(r, c) = normal(random);
    }
  }
  float& operator()(int r, int c) { return host[size_t(r) * (cols + 3) + c]; }
  double operator()(int r, int c) const {
    return host[size_t(r) * (cols + 3) + c];
  }

  int rows, cols;
  std::vector<float> host;
};

class RowKernels : public ::testing::Test {
 protected:
  RowKernels() { cuda_host::ResetDevice(); }

  static Rows On(const Array<float>& memory, const Values& v) {
    return {memory.data(), v.rows, v.cols, size_t(v.cols) + 3};
  }

  using Launch = std::function<cudaError_t(Rows)>;
  struct Answer {
    double value, bound;
  };
  using Expected = std::function<Answer(int row, int col)>;

  // `launch` in place on `y`, in every order: each element within its bound,
  // gaps as they were, and the same bits in every order.
  void Check(const Values& y, const Launch& launch, const Expected& expected) {
    std::vector<float> first;
    for (const cuda_host::Schedule& schedule : cuda_host::kSchedules) {
      cuda_host::Engine::Get().set_schedule(schedule);
      Array<float> memory(y.host);
      ASSERT_EQ(launch(On(memory, y)), cudaSuccess) << cuda_host::LastMessage();
      Values found = y;
      found.host = memory.Get();
      for (int r = 0; r < y.rows; ++r) {
        for (int c = 0; c < y.cols; ++c) {
          const Answer answer = expected(r, c);
          ASSERT_LE(std::abs(found(r, c) - answer.value), answer.bound)
              << "row " << r << ", column " << c << ": " << found(r, c)
              << " for " << answer.value;
        }
        for (int c = y.cols; c < y.cols + 3; ++c) ASSERT_EQ(found(r, c), kGap);
      }
      if (first.empty()) first = found.host;
      ASSERT_EQ(found.host, first) << "not the same in every order";
    }
  }
};

constexpr int kRowCounts[] = {1, 3, 67};
constexpr int kColumns[] = {1, 7, 33, 256, 300};

TEST_F(RowKernels, NormsOfPieces) {
  struct Case {
    int pieces, stride, length;
    bool layer;
  };
  for (const Case& c :
       {Case{1, 0, 1, false}, Case{1, 0, 33, false}, Case{3, 9, 7, false},
        Case{2, 64, 64, true}, Case{1, 0, 700, false}, Case{1, 0, 300, true}}) {
    const int cols = (c.pieces - 1) * c.stride + c.length;
    const Values x(5, cols, 1), w(1, c.length, 2), bias(1, c.length, 3);
    Array<float> ws(w.host), biases(bias.host);
    const float eps = 1e-3f;
    Check(
        x,
        [&](Rows y) {
          return LaunchNorm({y, y, c.pieces, c.stride, c.length, ws.data(),
                             c.layer ? biases.data() : nullptr, eps},
                            nullptr);
        },
        [&](int r, int at) -> Answer {
          const int piece = c.stride == 0 ? 0 : at / c.stride;
          const int i = at - piece * c.stride;
          if (i >= c.length || piece >= c.pieces) return {x(r, at), 0};
          double mean = 0, most = 0, squares = 0;
          for (int j = 0; j < c.length; ++j) {
            const double v = x(r, piece * c.stride + j);
            mean += c.layer ? v / c.length : 0;
            most = std::max(most, std::abs(v));
          }
          for (int j = 0; j < c.length; ++j) {
            const double d = x(r, piece * c.stride + j) - mean;
            squares += d * d;
          }
          const double scale = 1 / std::sqrt(squares / c.length + eps);
          const double b = c.layer ? bias(0, i) : 0;
          const double y = (x(r, at) - mean) * scale * w(0, i);
          // The mean is off by n e of the largest; so is each difference.
          const double off = c.layer ? (c.length + 2) * kE * most : 0;
          const double bound = std::abs(y) * (c.length + 8) * kE +
                               3 * off * scale * std::abs(w(0, i)) +
                               2 * kE * std::abs(y + b);
          return {y + b, bound};
        });
  }
}

TEST_F(RowKernels, ANormOfAnotherRowIsWrittenThere) {
  const Values x(3, 40, 1), w(1, 40, 2);
  Array<float> xs(x.host), ws(w.host);
  Check(
      Values(3, 40, 9),
      [&](Rows y) {
        return LaunchNorm({On(xs, x), y, 1, 0, 40, ws.data(), nullptr, 0.0f},
                          nullptr);
      },
      [&](int r, int c) -> Answer {
        double squares = 0;
        for (int j = 0; j < 40; ++j) squares += x(r, j) * x(r, j);
        const double y = x(r, c) / std::sqrt(squares / 40) * w(0, c);
        return {y, std::abs(y) * 48 * kE};
      });
}

TEST_F(RowKernels, Rotations) {
  for (const int sets : {1, 2}) {
    const int heads = 4, stride = 11, dim = 6;
    const Values x(5, (heads - 1) * stride + dim, 1);
    const Values angles(5, sets * dim / 2, 2);
    std::vector<float> cos, sin;
    for (int r = 0; r < 5; ++r) {
      for (int i = 0; i < angles.cols; ++i) {
        cos.push_back(static_cast<float>(std::cos(angles(r, i))));
        sin.push_back(static_cast<float>(std::sin(angles(r, i))));
      }
    }
    Array<float> c(cos), s(sin);
    Check(
        x,
        [&](Rows y) {
          return LaunchRotate({y, heads, stride, dim, sets, c.data(), s.data()},
                              nullptr);
        },
        [&](int r, int col) -> Answer {
          const int head = col / stride, i = col % stride;
          if (i >= dim) return {x(r, col), 0};
          const int at =
              r * angles.cols + head * sets / heads * (dim / 2) + i % (dim / 2);
          const double a = x(r, col);
          const double b = x(r, i < dim / 2 ? col + dim / 2 : col - dim / 2);
          const double turn = i < dim / 2 ? -double{sin[at]} : sin[at];
          return {a * cos[at] + b * turn,
                  3 * kE * (std::abs(a * cos[at]) + std::abs(b * turn))};
        });
  }
}

TEST_F(RowKernels, CastsOfPieces) {
  struct Case {
    int pieces, stride, length, piece_stride, padded;
  };
  for (const Case& c :
       {Case{1, 0, 7, 8, 8}, Case{3, 10, 6, 8, 8}, Case{3, 5, 5, 7, 7},
        Case{2, 4, 1, 3, 2}, Case{1, 0, 300, 304, 304}}) {
    const Values x(5, (c.pieces - 1) * c.stride + c.length, 1, 10.0f);
    const int row = c.pieces * c.piece_stride + 5;
    for (const int offset : {0, 1}) {
      const std::vector<uint16_t> before(size_t(5) * row + offset, 0x7fc1);
      Array<float> xs(x.host);
      Array<uint16_t> y(before);
      ASSERT_EQ(LaunchCast({On(xs, x), c.pieces, c.stride, c.length,
                            y.data() + offset, row, c.piece_stride, c.padded},
                           nullptr),
                cudaSuccess);
      std::vector<uint16_t> expected = before;
      for (int r = 0; r < 5; ++r) {
        for (int p = 0; p < c.pieces; ++p) {
          for (int i = 0; i < c.padded; ++i) {
            expected[offset + r * row + p * c.piece_stride + i] =
                i < c.length
                    ? ToBF16(static_cast<float>(x(r, p * c.stride + i)))
                    : 0;
          }
        }
      }
      EXPECT_EQ(y.Get(), expected);
    }
  }
}

TEST_F(RowKernels, Embeddings) {
  const int vocabulary = 5, cols = 33;
  const Values table(vocabulary, cols, 1);
  std::vector<uint16_t> narrow;
  for (float v : table.host) narrow.push_back(ToBF16(v));
  Array<float> wide_table(table.host);
  Array<uint16_t> narrow_table(narrow);
  const std::vector<int32_t> tokens = {4, 0, -1, 5, 2};
  Array<int32_t> ids(tokens);
  for (const bool f32 : {false, true}) {
    Check(
        Values(5, cols, 2),
        [&](Rows y) {
          return LaunchEmbed({ids.data(),
                              f32 ? static_cast<const void*>(wide_table.data())
                                  : narrow_table.data(),
                              vocabulary, cols + 3, f32, 2.5f, y},
                             nullptr);
        },
        [&](int r, int c) -> Answer {
          if (tokens[r] < 0 || tokens[r] >= vocabulary) return {0, 0};
          const double v =
              f32 ? table(tokens[r], c)
                  : FromBF16(ToBF16(static_cast<float>(table(tokens[r], c))));
          return {2.5 * v, kE * std::abs(2.5 * v)};
        });
  }
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST_F(RowKernels, GatesSumsAndProducts) {
  for (const int rows : kRowCounts) {
    for (const int cols : kColumns) {
      const Values y(rows, cols, 1), x(rows, 2 * cols, 2, 5.0f);
      Array<float> xs(x.host);
      const Rows pair = On(xs, x), one = pair.Columns(0, cols);
      Check(
          y, [&](Rows out) { return LaunchSiluMul(pair, out, nullptr); },
          [&](int r, int c) -> Answer {
            const double v = x(r, c) * Sigmoid(x(r, c)) * x(r, cols + c);
            return {v, 12 * kE * std::abs(v)};
          });
      Check(
          y, [&](Rows out) { return LaunchSigmoidMul(pair, out, nullptr); },
          [&](int r, int c) -> Answer {
            const double v = Sigmoid(x(r, c)) * x(r, cols + c);
            return {v, 12 * kE * std::abs(v)};
          });
      Check(
          y, [&](Rows out) { return LaunchAddScaled(one, 0.3f, out, nullptr); },
          [&](int r, int c) -> Answer {
            const double add = double{0.3f} * x(r, c);
            return {y(r, c) + add,
                    2 * kE * (std::abs(y(r, c)) + std::abs(add))};
          });
      Check(
          y, [&](Rows out) { return LaunchMul(one, out, nullptr); },
          [&](int r, int c) -> Answer {
            const double v = y(r, c) * x(r, c);
            return {v, kE * std::abs(v)};
          });
    }
  }
}

TEST_F(RowKernels, GatheredRows) {
  const Values x(6, 40, 1);
  Array<float> xs(x.host);
  const std::vector<int32_t> rows = {5, 0, 5};
  Array<int32_t> ids(rows);
  Check(
      Values(3, 40, 2),
      [&](Rows y) { return LaunchGather(On(xs, x), ids.data(), y, nullptr); },
      [&](int r, int c) -> Answer {
        return {x(rows[r], c), 0};
      });
}

// In the order of the parts, to the bit.
TEST_F(RowKernels, SumsOfParts) {
  for (const int count : {1, 2, 5}) {
    constexpr int kRows = 3, kCols = 300;
    const Values parts(count * kRows, kCols, count);
    Array<float> memory(parts.host);
    Check(
        Values(kRows, kCols, 9),
        [&](Rows y) {
          return LaunchSumParts(memory.data(), count, kRows * (kCols + 3), y,
                                nullptr);
        },
        [&](int r, int c) -> Answer {
          auto sum = static_cast<float>(parts(r, c));
          for (int p = 1; p < count; ++p) {
            sum += static_cast<float>(parts(p * kRows + r, c));
          }
          return {sum, 0};
        });
  }
}

TEST_F(RowKernels, DotGates) {
  for (const int cols : kColumns) {
    const Values y(3, 20, 1), a(3, cols, 2, 0.3f), b(3, cols, 3, 0.3f);
    Array<float> as(a.host), bs(b.host);
    Check(
        y,
        [&](Rows x) {
          return LaunchScaleBySigmoidDot(On(as, a), On(bs, b), x, nullptr);
        },
        [&](int r, int c) -> Answer {
          double dot = 0, size = 0;
          for (int i = 0; i < cols; ++i) {
            dot += a(r, i) * b(r, i);
            size += std::abs(a(r, i) * b(r, i));
          }
          const double v = y(r, c) * Sigmoid(dot);
          // A sigmoid moves by less than its argument, relatively.
          return {v, std::abs(v) * ((cols + 1) * kE * size + 12 * kE)};
        });
  }
}

TEST_F(RowKernels, SoftmaxOfParts) {
  for (const int parts : {1, 3}) {
    const Values y(3, parts * 7, 1), logits(3, parts, 2, 4.0f);
    Array<float> ls(logits.host);
    Check(
        y, [&](Rows x) { return LaunchScaleParts(On(ls, logits), x, nullptr); },
        [&](int r, int c) -> Answer {
          double sum = 0, most = 0;
          for (int p = 0; p < parts; ++p) {
            sum += std::exp(logits(r, p));
            most = std::max(most, std::abs(logits(r, p)));
          }
          const double v = y(r, c) * std::exp(logits(r, c / 7)) / sum;
          // Differences of logits are off by e of the larger.
          return {v, std::abs(v) * (4 * most + 24 + parts) * kE};
        });
  }
}

TEST_F(RowKernels, Positions) {
  const std::vector<int32_t> positions = {0, 7, 8, 999999, -1};
  Array<int32_t> ids(positions);
  const auto turns = [&](int r, int period) {
    return positions[r] < 0 ? 0 : positions[r] / period;
  };
  const Values x(5, 33, 1);
  Check(
      x,
      [&](Rows y) {
        return LaunchScaleByPosition(ids.data(), 0.1f, 8, y, nullptr);
      },
      [&](int r, int c) -> Answer {
        const double v =
            x(r, c) * (1 + double{0.1f} * std::log(1.0 + turns(r, 8)));
        return {v, 12 * kE * std::abs(v)};
      });
  for (const int period : {1, 3}) {
    Check(
        x,
        [&](Rows y) { return LaunchSinusoids(ids.data(), period, y, nullptr); },
        [&](int r, int c) -> Answer {
          const long double angle =
              turns(r, period) * std::pow(10000.0L, -(c / 2 * 2.0L) / 33);
          // The angle, in double, is off by some 2^-51 of itself.
          return {static_cast<double>(c % 2 == 0 ? std::sin(angle)
                                                 : std::cos(angle)),
                  kE + 1e-9};
        });
  }
}

TEST_F(RowKernels, NothingIsLaunchedForNoRows) {
  const Rows none{nullptr, 0, 5, 8};
  EXPECT_EQ(LaunchNorm({none, none, 1, 0, 5, nullptr, nullptr, 0}, nullptr),
            cudaSuccess);
  EXPECT_EQ(LaunchCast({none, 1, 0, 5, nullptr, 8, 0, 8}, nullptr),
            cudaSuccess);
  EXPECT_EQ(LaunchSiluMul(none, none, nullptr), cudaSuccess);
  EXPECT_EQ(LaunchScaleBySigmoidDot(none, none, none, nullptr), cudaSuccess);
  EXPECT_EQ(cuda_host::GetCounters().launches_enqueued, 0);
}

// A row has its bits whatever is beside it, and a NaN stays in its row.
TEST_F(RowKernels, RowsAreAlone) {
  const int cols = 300;
  Values all(9, cols, 1);
  const Values w(1, cols, 2);
  Array<float> ws(w.host);
  const auto norm = [&](const Values& v) {
    Array<float> memory(v.host);
    const Rows y = On(memory, v);
    EXPECT_EQ(
        LaunchNorm({y, y, 1, 0, cols, ws.data(), nullptr, 1e-6f}, nullptr),
        cudaSuccess);
    return memory.Get();
  };
  all(4, 17) = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> together = norm(all);
  for (int r = 0; r < all.rows; ++r) {
    Values one(1, cols, 0);
    for (int c = 0; c < cols; ++c) {
      one(0, c) = static_cast<float>(std::as_const(all)(r, c));
    }
    const std::vector<float> alone = norm(one);
    for (int c = 0; c < cols; ++c) {
      const float found = together[size_t(r) * (cols + 3) + c];
      if (r == 4) {
        EXPECT_TRUE(std::isnan(found));
      } else {
        EXPECT_EQ(found, alone[c]);
      }
    }
  }
}

}  // namespace
}  // namespace mla::kernels::cuda

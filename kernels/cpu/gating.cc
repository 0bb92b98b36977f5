// Tested by tests/kernels/gating_test.cc.
#include "kernels/cpu/gating.h"

#include <algorithm>
#include <cmath>

namespace mla::kernels {
namespace {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

void SigmoidMul(CpuContext& cpu, Rows x, Rows y) {
  cpu.pool().Run(x.rows, [&](int row, int) {
    for (int i = 0; i < y.cols; ++i) {
      y[row][i] = static_cast<float>(Sigmoid(x[row][i]) * x[row][y.cols + i]);
    }
  });
}

void ScaleBySigmoidDot(CpuContext& cpu, Rows a, Rows b, Rows x) {
  cpu.pool().Run(x.rows, [&](int row, int) {
    double dot = 0;
    for (int i = 0; i < a.cols; ++i) dot += double{a[row][i]} * b[row][i];
    const float gate = static_cast<float>(Sigmoid(dot));
    for (int i = 0; i < x.cols; ++i) x[row][i] *= gate;
  });
}

void ScaleParts(CpuContext& cpu, Rows logits, Rows x) {
  const int part = x.cols / logits.cols;
  cpu.pool().Run(x.rows, [&](int row, int) {
    const float* l = logits[row];
    const double top = *std::max_element(l, l + logits.cols);
    double sum = 0;
    for (int p = 0; p < logits.cols; ++p) sum += std::exp(l[p] - top);
    for (int p = 0; p < logits.cols; ++p) {
      const float gate = static_cast<float>(std::exp(l[p] - top) / sum);
      for (int i = 0; i < part; ++i) x[row][p * part + i] *= gate;
    }
  });
}

void Sinusoids(int position, int cols, float* y) {
  for (int i = 0; i < cols; ++i) {
    const double angle = position * std::pow(10000.0, -(i / 2 * 2.0) / cols);
    y[i] = static_cast<float>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
  }
}

}  // namespace mla::kernels

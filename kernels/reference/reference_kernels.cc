// InnerKernels for Isa::kReference: each function as its definition reads, one
// element at a time, sums in double. Never tuned; the other tables are held
// against it, and it is itself held against goldens from PyTorch.
// Tested by tests/kernels/{linear,attention,elementwise}_test.cc.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/inner_kernels.h"
#include "kernels/packed_matrix.h"

namespace mla::kernels {
namespace {

float Element(DType dtype, const void* row, int i) {
  if (dtype == DType::kBF16)
    return FromBF16(static_cast<const bf16_t*>(row)[i]);
  if (dtype == DType::kF8E4M3)
    return FromF8E4M3(static_cast<const uint8_t*>(row)[i]);
  return static_cast<const float*>(row)[i];
}

// kernels/packed_matrix.h says where.
float QuantisedWeight(const GemmArgs& a, const std::byte* panel, int lane,
                      int k) {
  const bool nibbles = a.dtype == DType::kQ4_1;
  const int g = k / kGroup, i = k % kGroup, quad = i / 4;
  const int per_byte = nibbles ? 2 : 1;
  const int group_bytes = kPanel * kGroup / per_byte;
  const auto byte = std::to_integer<int>(
      panel[g * group_bytes + (quad / per_byte * kPanel + lane) * 4 + i % 4]);
  const auto half = [&](int index) {
    uint16_t bits;
    std::memcpy(&bits,
                panel + Groups(a.k) * group_bytes +
                    ((g * per_byte + index) * kPanel + lane) * 2,
                2);
    return FromF16(bits);
  };
  if (!nibbles) return half(0) * (byte - 128);
  return half(0) * (byte >> quad % 2 * 4 & 15) + half(1);
}

float PanelWeight(const GemmArgs& a, int output, int k) {
  const std::byte* panel = a.w + output / kPanel * a.panel_bytes;
  const int lane = output % kPanel;
  if (a.dtype == DType::kQ8_0 || a.dtype == DType::kQ4_1) {
    return QuantisedWeight(a, panel, lane, k);
  }
  if (a.dtype == DType::kF32) return Element(a.dtype, panel, k * kPanel + lane);
  return Element(a.dtype, panel, (k / 2 * kPanel + lane) * 2 + k % 2);
}

void Gemm(const GemmArgs& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = static_cast<const float*>(a.x) + row * (a.x_stride / 4);
    for (int n = 0; n < a.outputs; ++n) {
      double sum = a.bias != nullptr ? a.bias[n] : 0.0;
      for (int k = 0; k < a.k; ++k) sum += double{x[k]} * PanelWeight(a, n, k);
      a.y[row * a.y_stride + n] = static_cast<float>(sum);
    }
  }
}

void AttendRow(const AttendTileArgs& a, int row) {
  const int tokens = a.visible[row];
  if (tokens == 0) return;
  std::vector<double> p(tokens);
  float top = a.state.max[row];
  for (int t = 0; t < tokens; ++t) {
    for (int j = 0; j < a.key_length; ++j) {
      p[t] += double{a.q[row * a.q_stride + j]} * a.k_t[j * kTileTokens + t];
    }
    top = std::max(top, static_cast<float>(p[t]));
  }
  const double alpha = std::exp2(double{a.state.max[row]} - top);
  double sum = a.state.sum[row] * alpha;
  for (double& x : p) sum += x = std::exp2(x - top);
  for (int i = 0; i < a.value_length; ++i) {
    double out = a.state.out[row * a.state.out_stride + i] * alpha;
    for (int t = 0; t < tokens; ++t) out += p[t] * a.v[t * a.value_length + i];
    a.state.out[row * a.state.out_stride + i] = static_cast<float>(out);
  }
  a.state.max[row] = top;
  a.state.sum[row] = static_cast<float>(sum);
}

void AttendTile(const AttendTileArgs& a) {
  for (int row = 0; row < a.rows; ++row) AttendRow(a, row);
}

void PackKeys(DType dtype, const void* const* rows, int tokens, int offset,
              int length, float* dst) {
  for (int j = 0; j < length; ++j) {
    for (int t = 0; t < kTileTokens; ++t) {
      dst[j * kTileTokens + t] =
          t < tokens ? Element(dtype, rows[t], offset + j) : 0.0f;
    }
  }
}

void ToFloat(DType dtype, const void* src, int n, float* dst) {
  for (int i = 0; i < n; ++i) dst[i] = Element(dtype, src, i);
}

void FromFloat(DType dtype, const float* src, int n, void* dst) {
  for (int i = 0; i < n; ++i) {
    if (dtype == DType::kBF16) {
      static_cast<bf16_t*>(dst)[i] = ToBF16(src[i]);
    } else {
      static_cast<float*>(dst)[i] = src[i];
    }
  }
}

void QuantiseRow(const float* x, int k, void* dst) {
  const int groups = Groups(k);
  auto* q = static_cast<int8_t*>(dst);
  auto* scale = reinterpret_cast<float*>(q + groups * kGroup);
  auto* offset = reinterpret_cast<int32_t*>(scale + groups);
  auto* sum = reinterpret_cast<float*>(offset + groups);
  for (int g = 0; g < groups; ++g) {
    const int first = g * kGroup;
    const int end = std::min(first + kGroup, k);
    float largest = 0;
    for (int i = first; i < end; ++i) {
      if (!(std::abs(x[i]) <= largest)) largest = std::abs(x[i]);
      if (std::isnan(largest)) break;
    }
    const float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
    int total = 0;
    for (int i = first; i < first + kGroup; ++i) {
      const float scaled = i < end ? x[i] * inverse : 0;
      q[i] =
          std::isnan(scaled) ? 0 : static_cast<int8_t>(std::nearbyint(scaled));
      total += q[i];
    }
    scale[g] = largest / 127.0f;
    offset[g] = -128 * total;
    sum[g] = scale[g] * static_cast<float>(total);
  }
}

void RmsNorm(const float* x, const float* w, float eps, int n, float* y) {
  double squares = 0;
  for (int i = 0; i < n; ++i) squares += double{x[i]} * x[i];
  const double scale = 1.0 / std::sqrt(squares / n + eps);
  for (int i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * scale * w[i]);
}

void SiluMul(const float* gate, const float* up, int n, float* y) {
  for (int i = 0; i < n; ++i) {
    y[i] = static_cast<float>(gate[i] / (1.0 + std::exp(-double{gate[i]})) *
                              up[i]);
  }
}

void AddScaled(const float* x, float scale, int n, float* y) {
  for (int i = 0; i < n; ++i) y[i] += x[i] * scale;
}

void Rotate(int half, const float* cos, const float* sin, float* x) {
  for (int i = 0; i < half; ++i) {
    const double a = x[i], b = x[i + half];
    x[i] = static_cast<float>(a * cos[i] - b * sin[i]);
    x[i + half] = static_cast<float>(b * cos[i] + a * sin[i]);
  }
}

}  // namespace

extern const InnerKernels kReferenceKernels;
const InnerKernels kReferenceKernels = {
    false,       false,     Gemm,    AttendTile, PackKeys,  ToFloat,
    QuantiseRow, FromFloat, RmsNorm, SiluMul,    AddScaled, Rotate,
};

}  // namespace mla::kernels

// Tested by tests/kernels/elementwise_test.cc.
#include "kernels/cpu/elementwise.h"

#include <cmath>

#include "kernels/cpu/row_codec.h"

namespace mla::kernels {
namespace {

template <typename Fn>
void ForEachRow(CpuContext& cpu, int rows, int cols, Fn&& fn) {
  cpu.ForEach(rows, int64_t{rows} * cols, fn);
}

}  // namespace

void RmsNorm(CpuContext& cpu, Rows x, const float* w, float eps, Rows y) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    cpu.inner().rms_norm(x[row], w, eps, x.cols, y[row]);
  });
}

void LayerNorm(CpuContext& cpu, Rows x, const float* w, const float* bias,
               float eps, Rows y) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    const float* in = x[row];
    float* out = y[row];
    double sum = 0, squares = 0;
    for (int i = 0; i < x.cols; ++i) sum += in[i];
    const double mean = sum / x.cols;
    for (int i = 0; i < x.cols; ++i) squares += (in[i] - mean) * (in[i] - mean);
    const double scale = 1 / std::sqrt(squares / x.cols + eps);
    for (int i = 0; i < x.cols; ++i) {
      out[i] = static_cast<float>((in[i] - mean) * scale) * w[i] + bias[i];
    }
  });
}

void RmsNormHeads(CpuContext& cpu, Rows x, int heads, int head_stride,
                  int head_dim, const float* w, float eps) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    for (int head = 0; head < heads; ++head) {
      float* p = x[row] + head * head_stride;
      cpu.inner().rms_norm(p, w, eps, head_dim, p);
    }
  });
}

void SiluMul(CpuContext& cpu, Rows x, Rows y) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    cpu.inner().silu_mul(x[row], x[row] + y.cols, y.cols, y[row]);
  });
}

void AddScaled(CpuContext& cpu, Rows x, float scale, Rows y) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    cpu.inner().add_scaled(x[row], scale, x.cols, y[row]);
  });
}

void Rope(CpuContext& cpu, const RopeArgs& args, Rows x) {
  ForEachRow(cpu, x.rows, args.heads * args.dim, [&](int row, int) {
    for (int head = 0; head < args.heads; ++head) {
      const int set = head * args.sets / args.heads * (args.dim / 2);
      cpu.inner().rotate(args.dim / 2, args.cos[row] + set, args.sin[row] + set,
                         x[row] + head * args.head_stride);
    }
  });
}

void WriteRows(CpuContext& cpu, Rows x, const RowFormat& format,
               std::byte* const* slots) {
  ForEachRow(cpu, x.rows, x.cols, [&](int row, int) {
    StoreRow(cpu.inner(), format, x[row], slots[row]);
  });
}

}  // namespace mla::kernels

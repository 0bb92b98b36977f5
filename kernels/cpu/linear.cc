// Work is cut along the outputs only, in tasks of whole panels: an output is
// one thread's sum over all inputs, so neither the number of threads nor the
// number of rows changes it.
// Tested by tests/kernels/linear_test.cc.
#include "kernels/cpu/linear.h"

#include <algorithm>

namespace mla::kernels {
namespace {

// Tasks per thread, so that a thread that is late costs a fraction of the op.
constexpr int kTasksPerThread = 4;
// Below this many multiplications a second thread costs more than it brings.
constexpr int64_t kSerialWork = 1 << 15;
// Below this many elements converting the inputs is not worth a second pass.
constexpr int64_t kSerialConvert = 1 << 14;

size_t EvenStride(int k) { return (static_cast<size_t>(k) + 1) / 2 * 2; }

void ConvertRow(const InnerKernels& inner, const float* x, int k, bf16_t* dst) {
  inner.from_float(DType::kBF16, x, k, dst);
  if (k % 2 != 0) dst[k] = 0;
}

GemmArgs Args(Rows x, const PackedMatrix& w, const float* bias, Rows y) {
  return {.dtype = w.dtype(),
          .x = x.data,
          .x_stride = x.stride,
          .rows = x.rows,
          .k = w.k(),
          .w = w.data(),
          .panel_bytes = w.panel_bytes(),
          .outputs = w.n(),
          .bias = bias,
          .y = y.data,
          .y_stride = y.stride};
}

GemmArgs Panels(GemmArgs args, int first, int count) {
  const int column = first * kPanel;
  args.w += first * args.panel_bytes;
  args.outputs = std::min(args.outputs - column, count * kPanel);
  if (args.bias != nullptr) args.bias += column;
  args.y += column;
  return args;
}

}  // namespace

void Linear(CpuContext& cpu, Rows x, const PackedMatrix& w, const float* bias,
            Rows y) {
  if (x.rows == 0) return;
  const InnerKernels& inner = cpu.inner();
  ThreadPool& pool = cpu.pool();
  GemmArgs args = Args(x, w, bias, y);
  Scratch& scratch = cpu.OpScratch();
  scratch.Reset();
  if (w.dtype() == DType::kBF16 && inner.bf16_inputs) {
    const size_t stride = EvenStride(w.k());
    bf16_t* converted = scratch.Take<bf16_t>(x.rows * stride);
    const auto convert = [&](int row, int) {
      ConvertRow(inner, x[row], w.k(), converted + row * stride);
    };
    if (int64_t{x.rows} * w.k() < kSerialConvert) {
      for (int row = 0; row < x.rows; ++row) convert(row, 0);
    } else {
      pool.Run(x.rows, convert);
    }
    args.x = converted;
    args.x_stride = stride;
  }

  const int panels = w.panels();
  int tasks = std::min(panels, pool.size() * kTasksPerThread);
  if (int64_t{x.rows} * w.n() * w.k() < kSerialWork) tasks = 1;
  pool.Run(tasks, [&](int task, int) {
    const int first = static_cast<int>(int64_t{panels} * task / tasks);
    const int end = static_cast<int>(int64_t{panels} * (task + 1) / tasks);
    inner.gemm(Panels(args, first, end - first));
  });
}

void LinearSerial(const InnerKernels& inner, Scratch& scratch, Rows x,
                  const PackedMatrix& w, Rows y) {
  GemmArgs args = Args(x, w, nullptr, y);
  if (w.dtype() == DType::kBF16 && inner.bf16_inputs) {
    const size_t stride = EvenStride(w.k());
    bf16_t* converted = scratch.Take<bf16_t>(x.rows * stride);
    for (int row = 0; row < x.rows; ++row) {
      ConvertRow(inner, x[row], w.k(), converted + row * stride);
    }
    args.x = converted;
    args.x_stride = stride;
  }
  inner.gemm(args);
}

}  // namespace mla::kernels

// Work is cut along the outputs only, in tasks of whole panels: an output is
// one thread's sum over all inputs, so neither the number of threads nor the
// number of rows changes it.
// Tested by tests/kernels/linear_test.cc.
#include "kernels/cpu/linear.h"

#include <algorithm>
#include <cstdint>

namespace mla::kernels {
namespace {

// Tasks per thread, so that a thread that is late costs a fraction of the op.
constexpr int kTasksPerThread = 4;
// Below this many multiplications a second thread costs more than it brings.
constexpr int64_t kSerialWork = 1 << 15;

// The inputs as the inner kernel wants them: floats, bf16 pairs or bytes.
struct Inputs {
  const std::byte* data;
  size_t stride;  // bytes
};

template <typename ForEachRow>
Inputs Prepare(const InnerKernels& inner, Scratch& scratch, Rows x,
               const PackedMatrix& w, ForEachRow&& for_each_row) {
  const int k = w.k();
  const bool bytes = w.quantised() && inner.quantised_inputs;
  const bool pairs = w.dtype() == DType::kBF16 && inner.bf16_inputs;
  if (!bytes && !pairs) {
    return {reinterpret_cast<const std::byte*>(x.data),
            x.stride * sizeof(float)};
  }
  const size_t stride =
      bytes ? QuantisedRowBytes(k) : (size_t(k) + 1) / 2 * 2 * sizeof(bf16_t);
  std::byte* converted = scratch.Take<std::byte>(x.rows * stride);
  for_each_row([&, converted](int row, int) {
    std::byte* dst = converted + row * stride;
    if (bytes) {
      inner.quantise_row(x[row], k, dst);
      return;
    }
    inner.from_float(DType::kBF16, x[row], k, dst);
    if (k % 2 != 0) reinterpret_cast<bf16_t*>(dst)[k] = 0;
  });
  return {converted, stride};
}

// The product of a group's rows with panels [first, end) of its weight.
GemmArgs Args(const Inputs& x, const LinearGroup& group, int first, int end,
              Rows y) {
  const PackedMatrix& w = *group.w;
  const int column = first * kPanel;
  return {.dtype = w.dtype(),
          .x = x.data + group.first_row * x.stride,
          .x_stride = x.stride,
          .rows = group.num_rows,
          .k = w.k(),
          .w = w.data() + first * w.panel_bytes(),
          .panel_bytes = w.panel_bytes(),
          .outputs = std::min(w.n() - column, (end - first) * kPanel),
          .bias = group.bias == nullptr ? nullptr : group.bias + column,
          .y = y[group.first_row] + column,
          .y_stride = y.stride};
}

}  // namespace

void GroupedLinear(CpuContext& cpu, Rows x,
                   const std::vector<LinearGroup>& groups, Rows y) {
  if (groups.empty() || x.rows == 0) return;
  const PackedMatrix& shape = *groups[0].w;
  ThreadPool& pool = cpu.pool();
  cpu.OpScratch().Reset();
  const Inputs inputs =
      Prepare(cpu.inner(), cpu.OpScratch(), x, shape, [&](const auto& convert) {
        cpu.ForEach(x.rows, int64_t{x.rows} * x.cols, convert);
      });

  const int panels = shape.panels();
  const int num_groups = static_cast<int>(groups.size());
  const int wanted =
      (pool.size() * kTasksPerThread + num_groups - 1) / num_groups;
  int cuts = std::min(panels, wanted);
  if (int64_t{x.rows} * shape.n() * shape.k() < kSerialWork) cuts = 1;
  pool.Run(cuts * num_groups, [&](int task, int) {
    const int cut = task % cuts;
    const int first = static_cast<int>(int64_t{panels} * cut / cuts);
    const int end = static_cast<int>(int64_t{panels} * (cut + 1) / cuts);
    cpu.inner().gemm(Args(inputs, groups[task / cuts], first, end, y));
  });
}

void Linear(CpuContext& cpu, Rows x, const PackedMatrix& w, const float* bias,
            Rows y) {
  GroupedLinear(cpu, x, {{0, x.rows, &w, bias}}, y);
}

void LinearSerial(const InnerKernels& inner, Scratch& scratch, Rows x,
                  const PackedMatrix& w, Rows y) {
  const Inputs inputs = Prepare(inner, scratch, x, w, [&](const auto& convert) {
    for (int row = 0; row < x.rows; ++row) convert(row, 0);
  });
  inner.gemm(Args(inputs, {0, x.rows, &w}, 0, w.panels(), y));
}

}  // namespace mla::kernels

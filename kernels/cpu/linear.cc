// Work is cut along outputs, in tasks of whole panels, and along rows: an
// output is one thread's sum over all inputs, so neither the number of threads
// nor the number of rows changes it. Tested by tests/kernels/linear_test.cc.
#include "kernels/cpu/linear.h"

#include <algorithm>
#include <cstdint>

namespace mla::kernels {
namespace {

// Tasks per thread, so that a thread that is late costs a fraction of the op.
constexpr int kTasksPerThread = 4;
// Panels that the kernels take at once: none is left over in the middle.
int PanelsAtOnce(const PackedMatrix& w) { return w.quantised() ? 3 : 2; }
// A task walks its inputs once for each such panels: they stay in half of a
// second-level cache of 512 KiB. Rows come in blocks that the kernels' divide.
constexpr size_t kNearBytes = size_t{1} << 18;
constexpr int kRowBlock = 24;
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

// The product of `rows` rows of x from `first_row` on with panels [first, end).
GemmArgs Args(const Inputs& x, const PackedMatrix& w, const float* bias,
              int first_row, int rows, int first, int end, Rows y) {
  const int column = first * kPanel;
  return {.dtype = w.dtype(),
          .x = x.data + first_row * x.stride,
          .x_stride = x.stride,
          .rows = rows,
          .k = w.k(),
          .w = w.data() + first * w.panel_bytes(),
          .panel_bytes = w.panel_bytes(),
          .outputs = std::min(w.n() - column, (end - first) * kPanel),
          .bias = bias == nullptr ? nullptr : bias + column,
          .y = y[first_row] + column,
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

  const int most_rows =
      std::max<int>(kRowBlock, static_cast<int>(kNearBytes / inputs.stride) /
                                   kRowBlock * kRowBlock);
  const auto blocks_of = [most_rows](const LinearGroup& group) {
    return (group.num_rows + most_rows - 1) / most_rows;
  };
  int blocks = 0;  // of rows
  for (const LinearGroup& group : groups) blocks += blocks_of(group);
  const int at_once = PanelsAtOnce(shape);
  const int steps = (shape.panels() + at_once - 1) / at_once;
  const int wanted = (pool.size() * kTasksPerThread + blocks - 1) / blocks;
  int cuts = std::min(steps, wanted);
  if (int64_t{x.rows} * shape.n() * shape.k() < kSerialWork) cuts = 1;
  pool.Run(cuts * blocks, [&](int task, int) {
    int block = task / cuts;
    auto group = groups.begin();
    for (; block >= blocks_of(*group); ++group) block -= blocks_of(*group);
    const int first_row = block * most_rows;
    const int rows = std::min(most_rows, group->num_rows - first_row);
    const int cut = task % cuts;
    const auto panel = [&](int at) {
      return std::min(shape.panels(),
                      static_cast<int>(int64_t{steps} * at / cuts) * at_once);
    };
    cpu.inner().gemm(Args(inputs, *group->w, group->bias,
                          group->first_row + first_row, rows, panel(cut),
                          panel(cut + 1), y));
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
  inner.gemm(Args(inputs, w, nullptr, 0, x.rows, 0, w.panels(), y));
}

}  // namespace mla::kernels

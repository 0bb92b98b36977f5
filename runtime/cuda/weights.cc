// Tested by tests/cuda/backend_parts_test.cc.
#include "runtime/cuda/weights.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "runtime/cpu_count.h"
#include "runtime/cuda/weight_codes.h"

namespace mla::runtime {
namespace {

using kernels::DType;

constexpr size_t kStagingBytes = size_t{64} << 20;
// Less is not worth a thread.
constexpr int64_t kElementsPerThread = 1 << 18;

// Rows [first, end), converted to `to`.
void ConvertRows(const RowSource& rows, int first, int end,
                 const DeviceMatrix& m, std::byte* to) {
  const size_t row_bytes = m.format().bytes;
  std::vector<float> row(m.inputs);
  for (int i = first; i < end; ++i, to += row_bytes) {
    rows(i, row.data());
    if (m.has_codes()) {
      EncodeWeightRow(m.format(), row, to);
      continue;
    }
    std::memset(to, 0, row_bytes);
    if (m.dtype == DType::kF32) {
      std::memcpy(to, row.data(), row.size() * sizeof(float));
      continue;
    }
    auto* narrow = reinterpret_cast<kernels::bf16_t*>(to);
    for (int j = 0; j < m.inputs; ++j) narrow[j] = kernels::ToBF16(row[j]);
  }
}

void ConvertOnAllCores(const RowSource& rows, int first, int end,
                       const DeviceMatrix& m, std::byte* to) {
  const int64_t elements = int64_t{end - first} * m.inputs;
  const int threads = static_cast<int>(std::clamp<int64_t>(
      elements / kElementsPerThread, 1, std::min(UsableCpus(), 64)));
  const size_t row_bytes = m.format().bytes;
  const auto begin_of = [&](int t) {
    return first + static_cast<int>(int64_t{end - first} * t / threads);
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) {
    pool.emplace_back([&, t] {
      ConvertRows(rows, begin_of(t), begin_of(t + 1), m,
                  to + (begin_of(t) - first) * row_bytes);
    });
  }
  ConvertRows(rows, first, begin_of(1), m, to);
  for (std::thread& thread : pool) thread.join();
}

}  // namespace

void WeightUploader::Fill(const RowSource& rows, DeviceMatrix& m) {
  m.stride = PaddedTo8(m.inputs);
  const size_t row_bytes = m.format().bytes;
  const int all = m.count * m.outputs;
  auto* to = m.memory.Reserve<std::byte>(all * row_bytes);
  if (to == nullptr || all == 0) return;
  const int step =
      static_cast<int>(std::clamp<size_t>(kStagingBytes / row_bytes, 1, all));
  auto* staging = staging_.Reserve<std::byte>(step * row_bytes);
  for (int first = 0; first < all && device_.ok(); first += step) {
    const int end = std::min(first + step, all);
    ConvertOnAllCores(rows, first, end, m, staging);
    device_.Check(cudaMemcpyAsync(to + first * row_bytes, staging,
                                  (end - first) * row_bytes,
                                  cudaMemcpyHostToDevice, device_.stream()),
                  "cudaMemcpyAsync of weights");
    device_.Synchronize();
  }
}

}  // namespace mla::runtime

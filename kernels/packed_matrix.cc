// Tested by tests/kernels/linear_test.cc.
#include "kernels/packed_matrix.h"

#include <sys/mman.h>

#include <new>

namespace mla::kernels {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Zeroed, and on huge pages where the system grants them: a decode step walks
// all weights, and 4 KiB pages would miss the TLB on each.
std::byte* AllocateZeroed(size_t bytes) {
  void* p = ::operator new (bytes, std::align_val_t{kHugePage});
  if (bytes >= kHugePage) madvise(p, bytes, MADV_HUGEPAGE);
  std::memset(p, 0, bytes);
  return static_cast<std::byte*>(p);
}

}  // namespace

void PackedMatrix::Free::operator()(std::byte* p) const {
  ::operator delete (p, std::align_val_t{kHugePage});
}

PackedMatrix::PackedMatrix(DType dtype, int n, int k)
    : dtype_(dtype), n_(n), k_(k) {
  const size_t inputs = dtype == DType::kBF16 ? (k + 1) / 2 * 2 : k;
  panel_bytes_ = inputs * kPanel * SizeOf(dtype);
  data_.reset(AllocateZeroed(bytes()));
}

void PackedMatrix::SetRows(int row, int count, const float* rows) {
  for (int i = 0; i < count; ++i) {
    const float* src = rows + static_cast<size_t>(i) * k_;
    std::byte* panel = data_.get() + (row + i) / kPanel * panel_bytes_;
    const int lane = (row + i) % kPanel;
    if (dtype_ == DType::kF32) {
      float* dst = reinterpret_cast<float*>(panel) + lane;
      for (int j = 0; j < k_; ++j) dst[j * kPanel] = src[j];
    } else {
      bf16_t* dst = reinterpret_cast<bf16_t*>(panel) + lane * 2;
      for (int j = 0; j < k_; ++j) {
        dst[j / 2 * kPanel * 2 + j % 2] = ToBF16(src[j]);
      }
    }
  }
}

}  // namespace mla::kernels

// Tested by tests/kernels/linear_test.cc.
#include "kernels/packed_matrix.h"

#include <sys/mman.h>

#include <new>

namespace mla::kernels {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

}  // namespace

void PackedMatrix::Free::operator()(std::byte* p) const {
  ::operator delete (p, std::align_val_t{alignment});
}

// Large matrices lie on huge pages where the system grants them: a decode step
// walks all weights, and 4 KiB pages would miss the TLB on each.
std::unique_ptr<std::byte, PackedMatrix::Free> PackedMatrix::AllocateZeroed(
    size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  void* p = ::operator new (bytes, std::align_val_t{alignment});
  if (alignment == kHugePage) madvise(p, bytes, MADV_HUGEPAGE);
  std::memset(p, 0, bytes);
  return {static_cast<std::byte*>(p), Free{alignment}};
}

PackedMatrix::PackedMatrix(DType dtype, int n, int k)
    : dtype_(dtype), n_(n), k_(k) {
  const size_t inputs = dtype == DType::kBF16 ? (k + 1) / 2 * 2 : k;
  panel_bytes_ = inputs * kPanel * SizeOf(dtype);
  data_ = AllocateZeroed(bytes());
}

void PackedMatrix::SetRow(int row, const float* weights) {
  std::byte* panel = data_.get() + row / kPanel * panel_bytes_;
  const int lane = row % kPanel;
  if (dtype_ == DType::kF32) {
    float* dst = reinterpret_cast<float*>(panel) + lane;
    for (int j = 0; j < k_; ++j) dst[j * kPanel] = weights[j];
  } else {
    bf16_t* dst = reinterpret_cast<bf16_t*>(panel) + lane * 2;
    for (int j = 0; j < k_; ++j) {
      dst[j / 2 * kPanel * 2 + j % 2] = ToBF16(weights[j]);
    }
  }
}

void PackedMatrix::GetRow(int row, float* weights) const {
  const std::byte* panel = data_.get() + row / kPanel * panel_bytes_;
  const int lane = row % kPanel;
  if (dtype_ == DType::kF32) {
    const float* src = reinterpret_cast<const float*>(panel) + lane;
    for (int j = 0; j < k_; ++j) weights[j] = src[j * kPanel];
  } else {
    const bf16_t* src = reinterpret_cast<const bf16_t*>(panel) + lane * 2;
    for (int j = 0; j < k_; ++j) {
      weights[j] = FromBF16(src[j / 2 * kPanel * 2 + j % 2]);
    }
  }
}

}  // namespace mla::kernels

// Tested by tests/kernels/linear_test.cc.
#include "kernels/packed_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "kernels/quantise.h"

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

namespace {

constexpr int kQuad = 4;  // inputs side by side

// Where the weights of one output lie in a panel of bytes or nibbles.
struct QuantisedPanel {
  bool nibbles;
  size_t groups;

  QuantisedPanel(DType dtype, int k)
      : nibbles(dtype == DType::kQ4_1), groups(Groups(k)) {}

  size_t group_bytes() const { return kPanel * kGroup / (nibbles ? 2 : 1); }
  size_t halves() const { return nibbles ? 2 : 1; }  // of a group's output
  size_t bytes() const {
    const size_t all = groups * (group_bytes() + halves() * kPanel * 2);
    return (all + kCacheLine - 1) / kCacheLine * kCacheLine;
  }
  // Input i of group g; two nibbles share a byte.
  size_t Byte(size_t g, int i, int lane) const {
    const int quad = i / kQuad / (nibbles ? 2 : 1);
    return g * group_bytes() + (size_t(quad) * kPanel + lane) * kQuad +
           i % kQuad;
  }
  int Shift(int i) const { return nibbles ? i / kQuad % 2 * 4 : 0; }
  // The scale; the minimum lies kPanel halves behind.
  uint16_t* Scale(std::byte* panel, size_t g, int lane) const {
    return reinterpret_cast<uint16_t*>(panel + groups * group_bytes()) +
           g * halves() * kPanel + lane;
  }
};

constexpr int kByteZero = 128;

void SetGroup(const QuantisedPanel& at, std::byte* panel, size_t g, int lane,
              const float (&w)[kGroup]) {
  const QuantisedGroup group =
      at.nibbles ? QuantiseNibbles(w) : QuantiseBytes(w);
  uint16_t* scale = at.Scale(panel, g, lane);
  scale[0] = ToF16(group.scale);
  if (at.nibbles) scale[kPanel] = ToF16(group.minimum);
  for (int i = 0; i < kGroup; ++i) {
    std::byte& byte = panel[at.Byte(g, i, lane)];
    if (at.nibbles) {
      byte &= std::byte(0xf0 >> at.Shift(i));
      byte |= std::byte(group.q[i] << at.Shift(i));
    } else {
      byte = std::byte(group.q[i] + kByteZero);
    }
  }
}

void GetGroup(const QuantisedPanel& at, std::byte* panel, size_t g, int lane,
              float (&w)[kGroup]) {
  const uint16_t* half = at.Scale(panel, g, lane);
  const float scale = FromF16(half[0]);
  const float minimum = at.nibbles ? FromF16(half[kPanel]) : 0.0f;
  for (int i = 0; i < kGroup; ++i) {
    const int byte = std::to_integer<int>(panel[at.Byte(g, i, lane)]);
    const int q = at.nibbles ? byte >> at.Shift(i) & 15 : byte - kByteZero;
    w[i] = scale * static_cast<float>(q) + minimum;
  }
}

size_t PanelBytes(DType dtype, int k) {
  if (dtype == DType::kQ8_0 || dtype == DType::kQ4_1) {
    return QuantisedPanel(dtype, k).bytes();
  }
  const size_t inputs = dtype == DType::kBF16 ? (k + 1) / 2 * 2 : k;
  return inputs * kPanel * SizeOf(dtype);
}

}  // namespace

PackedMatrix::PackedMatrix(DType dtype, int n, int k)
    : dtype_(dtype), n_(n), k_(k), panel_bytes_(PanelBytes(dtype, k)) {
  data_ = AllocateZeroed(bytes());
}

std::byte* PackedMatrix::Panel(int row) const {
  return data_.get() + row / kPanel * panel_bytes_;
}

void PackedMatrix::SetRow(int row, const float* weights) {
  const int lane = row % kPanel;
  if (quantised()) {
    const QuantisedPanel at(dtype_, k_);
    for (int first = 0; first < k_; first += kGroup) {
      float group[kGroup] = {};
      std::copy_n(weights + first, std::min(kGroup, k_ - first), group);
      SetGroup(at, Panel(row), first / kGroup, lane, group);
    }
  } else if (dtype_ == DType::kF32) {
    float* dst = reinterpret_cast<float*>(Panel(row)) + lane;
    for (int j = 0; j < k_; ++j) dst[j * kPanel] = weights[j];
  } else {
    bf16_t* dst = reinterpret_cast<bf16_t*>(Panel(row)) + lane * 2;
    for (int j = 0; j < k_; ++j) {
      dst[j / 2 * kPanel * 2 + j % 2] = ToBF16(weights[j]);
    }
  }
}

void PackedMatrix::GetRow(int row, float* weights) const {
  const int lane = row % kPanel;
  if (quantised()) {
    const QuantisedPanel at(dtype_, k_);
    for (int first = 0; first < k_; first += kGroup) {
      float group[kGroup];
      GetGroup(at, Panel(row), first / kGroup, lane, group);
      std::copy_n(group, std::min(kGroup, k_ - first), weights + first);
    }
  } else if (dtype_ == DType::kF32) {
    const float* src = reinterpret_cast<const float*>(Panel(row)) + lane;
    for (int j = 0; j < k_; ++j) weights[j] = src[j * kPanel];
  } else {
    const bf16_t* src = reinterpret_cast<const bf16_t*>(Panel(row)) + lane * 2;
    for (int j = 0; j < k_; ++j) {
      weights[j] = FromBF16(src[j / 2 * kPanel * 2 + j % 2]);
    }
  }
}

}  // namespace mla::kernels

// Cached rows in tests of kernels: where their elements lie, computed anew;
// what rounding to bf16 is, by its definition; and bytes that go to the
// stand-in's device and back.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_CACHED_ROWS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_CACHED_ROWS_H_

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/every_order.h"
#include "kernels/cuda/cache_args.h"
#include "kernels/views.h"

namespace cuda_host {

using Bytes = std::vector<unsigned char>;

template <class T>
T* ToDevice(const std::vector<T>& values) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, values.size() * sizeof(T)), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(p, values.data(), values.size() * sizeof(T),
                       cudaMemcpyHostToDevice),
            cudaSuccess);
  return static_cast<T*>(p);
}

template <class T>
std::vector<T> ToHost(const T* p, size_t count) {
  std::vector<T> values(count);
  EXPECT_EQ(
      cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost),
      cudaSuccess);
  EXPECT_EQ(LastKernelError(), "");
  return values;
}

inline double FromBf16(uint16_t h) {
  const uint32_t bits = static_cast<uint32_t>(h) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

// The nearer of the two around it, of two as near the even one. Behind the
// largest comes what would be next if it were not infinity.
inline uint16_t NearestBf16(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  const auto low = static_cast<uint16_t>(bits >> 16);
  if (std::isnan(f)) return 0x7fc0;
  if (std::isinf(f)) return low;
  const auto high = static_cast<uint16_t>(low + 1);
  const double next =
      std::isinf(FromBf16(high)) ? std::copysign(0x1p128, f) : FromBf16(high);
  const double down = std::fabs(f - FromBf16(low)), up = std::fabs(next - f);
  return down < up || (down == up && low % 2 == 0) ? low : high;
}

// An element of a cache or of a result.
struct Element {
  bool f32;
  size_t bytes() const { return f32 ? 4 : 2; }
  double Load(const Bytes& from, size_t at) const {
    if (f32) {
      float x;
      std::memcpy(&x, &from[at], 4);
      return x;
    }
    uint16_t h;
    std::memcpy(&h, &from[at], 2);
    return FromBf16(h);
  }
  void Store(float x, Bytes& to, size_t at) const {
    const uint16_t h = NearestBf16(x);
    f32 ? std::memcpy(&to[at], &x, 4) : std::memcpy(&to[at], &h, 2);
  }
};

// One layer's rows in a pool of blocks: in each block other layers have 16
// bytes before them and the rest behind.
struct CachedRows {
  int width = 1, block_tokens = 16, time_stride = 1;
  Element type = {false};
  int num_blocks = 8;
  int other_bytes = 64;

  int row_bytes() const { return static_cast<int>(width * type.bytes()); }
  int block_rows() const { return block_tokens / time_stride; }
  int64_t block_bytes() const {
    return int64_t{block_rows()} * row_bytes() + other_bytes;
  }
  size_t bytes() const { return 16 + num_blocks * block_bytes(); }
  // Of the pool's bytes.
  size_t At(int block, int row, int i) const {
    return 16 + block * block_bytes() + row * row_bytes() + i * type.bytes();
  }
  mla::kernels::cuda::CacheArgs Args(unsigned char* p) const {
    const auto dtype =
        type.f32 ? mla::kernels::DType::kF32 : mla::kernels::DType::kBF16;
    return {p + 16, block_bytes(), block_tokens, time_stride,
            mla::kernels::RowFormatOf(width, dtype)};
  }
  std::string Name() const {
    return std::to_string(width) + (type.f32 ? " f32" : " bf16") + " by " +
           std::to_string(time_stride);
  }
};

// With one NaN for all of them: which one a NaN becomes is open.
inline Bytes WithOneNan(Bytes bytes, Element type) {
  for (size_t at = 0; at + type.bytes() <= bytes.size(); at += type.bytes()) {
    if (std::isnan(type.Load(bytes, at))) type.Store(NAN, bytes, at);
  }
  return bytes;
}

// Runs `kernel` in every order, and checks that it gives the same bytes.
inline Bytes InEveryOrder(const std::function<Bytes()>& kernel) {
  Bytes first;
  for (const Schedule& schedule : kSchedules) {
    ResetDevice();
    Engine::Get().set_schedule(schedule);
    const Bytes found = kernel();
    if (first.empty()) first = found;
    EXPECT_TRUE(found == first) << "in another order";
  }
  return first;
}

// x with three columns behind each row, NaN.
inline std::vector<float> WithGaps(std::vector<float> x, int width) {
  for (size_t i = 0; i < x.size(); ++i) {
    if (static_cast<int>(i % (width + 3)) >= width) x[i] = NAN;
  }
  return x;
}
inline mla::kernels::Rows GappedRows(float* data, int rows, int width) {
  return {data, rows, width, static_cast<size_t>(width + 3)};
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_CACHED_ROWS_H_

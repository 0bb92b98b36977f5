// MoeFixture: tests of the kernels of a mixture of experts, through their
// launchers, on the stand-in for a device.
// Owns:    what it put into device memory.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_MOE_FIXTURE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_MOE_FIXTURE_H_

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda_host/control.h"
#include "cuda_host/every_order.h"
#include "kernels/views.h"

namespace cuda_host {

inline float OfBf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}
// Of eight significant bits the nearest, ties to even. For normal numbers.
inline float NearestBf16(float x) {
  int exponent = 0;
  const double mantissa = std::frexp(double{x}, &exponent);
  return static_cast<float>(
      std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8));
}
inline uint16_t ToBf16(float x) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(NearestBf16(x)) >> 16);
}

// Rounded to bf16, `stride` apart, zeros behind.
inline std::vector<uint16_t> Pad(const std::vector<float>& x, int cols,
                                 int stride) {
  std::vector<uint16_t> padded(x.size() / cols * stride);
  for (size_t i = 0; i < x.size(); ++i) {
    padded[i / cols * stride + i % cols] = ToBf16(x[i]);
  }
  return padded;
}
inline int Padded(int k) { return (k + 7) / 8 * 8; }

class MoeFixture : public testing::Test {
 protected:
  // What stands where nothing is to be written.
  static constexpr float kKept = -7654321.0f;
  static constexpr uint16_t kKeptBf16 = 0x4bcd;
  static constexpr int32_t kKeptInt = -77;

  MoeFixture() { Restart(); }
  ~MoeFixture() override { Restart(); }

  // Drops everything in device memory.
  static void Restart() {
    ResetDevice();
    Engine::Get().set_schedule({});
  }

  template <class T>
  static T* ToDevice(const std::vector<T>& values) {
    void* p = nullptr;
    const size_t bytes = values.size() * sizeof(T);
    EXPECT_EQ(cudaMalloc(&p, bytes), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(p, values.data(), bytes, cudaMemcpyHostToDevice),
              cudaSuccess);
    return static_cast<T*>(p);
  }
  template <class T>
  static std::vector<T> ToHost(const T* p, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << LastKernelError();
    EXPECT_EQ(
        cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost),
        cudaSuccess);
    return values;
  }

  // Packed rows as device rows `stride` apart, NaN between them.
  static mla::kernels::Rows RowsToDevice(const std::vector<float>& packed,
                                         int rows, int cols, int stride) {
    std::vector<float> strided(size_t(rows) * stride, NAN);
    for (int r = 0; r < rows; ++r) {
      std::memcpy(&strided[size_t(r) * stride], &packed[size_t(r) * cols],
                  size_t(cols) * 4);
    }
    return {ToDevice(strided), rows, cols, size_t(stride)};
  }

  // An allocation for each expert, as for weights that are loaded one by one.
  static const uint16_t* const* Weights(const std::vector<float>& w,
                                        int experts, int k, int stride) {
    std::vector<const uint16_t*> of;
    const size_t each = w.size() / experts;
    for (int e = 0; e < experts; ++e) {
      of.push_back(ToDevice(
          Pad({w.begin() + e * each, w.begin() + (e + 1) * each}, k, stride)));
    }
    return ToDevice(of);
  }

  // Calls make() in every order of threads: it computes a vector, and gets the
  // same bits each time.
  template <class Make>
  static auto InEveryOrder(Make make) {
    const auto first = make();
    for (const Schedule& schedule : kSchedules) {
      Engine::Get().set_schedule(schedule);
      EXPECT_TRUE(SameBits(make(), first));
    }
    Engine::Get().set_schedule({});
    return first;
  }

  template <class T>
  static bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() &&
           (a.empty() ||
            std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
  }
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_MOE_FIXTURE_H_

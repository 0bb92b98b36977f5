// Seeded inputs for numeric tests.
#ifndef MLA_TESTS_SUPPORT_RANDOM_H_
#define MLA_TESTS_SUPPORT_RANDOM_H_

#include <random>
#include <vector>

namespace mla::testing {

// Floats of mean 0 and variance `scale`^2, the same for a seed everywhere.
inline std::vector<float> RandomFloats(size_t count, uint64_t seed,
                                       float scale = 1.0f) {
  std::mt19937_64 bits(seed);
  std::vector<float> values(count);
  for (float& v : values) {
    // A sum of four uniforms: standard distributions differ by library.
    const uint64_t b = bits();
    const int sum = static_cast<int>((b & 0xffff) + (b >> 16 & 0xffff) +
                                     (b >> 32 & 0xffff) + (b >> 48)) -
                    2 * 0xffff;
    v = static_cast<float>(sum) * (1.7320508f / 0x1.0p16f) * scale;
  }
  return values;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_RANDOM_H_

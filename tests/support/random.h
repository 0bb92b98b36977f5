// Seeded inputs for numeric tests.
#ifndef MLA_TESTS_SUPPORT_RANDOM_H_
#define MLA_TESTS_SUPPORT_RANDOM_H_

#include <random>
#include <vector>

namespace mla::testing {

// Normally distributed floats; the same for the same seed everywhere.
inline std::vector<float> RandomFloats(size_t count, uint64_t seed,
                                       float scale = 1.0f) {
  std::mt19937_64 bits(seed);
  std::vector<float> values(count);
  for (float& v : values) {
    // A sum of twelve uniforms: standard distributions differ by library.
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += (bits() >> 11) * 0x1.0p-53;
    v = static_cast<float>(sum) * scale;
  }
  return values;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_RANDOM_H_

// The value of a matmul: f32 products, added in f32 in the order of k, by way
// of a few partial sums. 64 rows go together, which compilers turn into
// vectors.
//
// Tested by tests/cuda/cublaslt_standin_test.cc.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "cuda_host/cublaslt_problem.h"

namespace cuda_host {
namespace {

constexpr uint64_t kRows = 64;

float FromBits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

uint32_t ToBits(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return bits;
}

// To nearest, ties to even.
uint16_t ToBf16(float f) {
  const uint32_t bits = ToBits(f);
  if (std::isnan(f)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

float Load(const void* p, int32_t type, uint64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(p)[i];
  return FromBits(uint32_t{static_cast<const uint16_t*>(p)[i]} << 16);
}

void Store(void* p, int32_t type, uint64_t i, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(p)[i] = value;
  } else {
    static_cast<uint16_t*>(p)[i] = ToBf16(value);
  }
}

// An input as the multiplier takes it.
float Narrow(float f, int32_t compute) {
  if (std::isnan(f) || std::isinf(f)) return f;
  switch (compute) {
    case CUBLAS_COMPUTE_32F_FAST_TF32:  // 10 bits, ties away from zero
      return FromBits((ToBits(f) + 0x1000) & ~uint32_t{0x1FFF});
    case CUBLAS_COMPUTE_32F_FAST_16BF:
      return FromBits(uint32_t{ToBf16(f)} << 16);
    default:
      return f;
  }
}

// One matrix of a batch as op() has it: element (row, col).
class Input {
 public:
  Input(const void* p, const LayoutData& layout, int32_t op, int32_t compute,
        int index)
      : p_(p),
        layout_(layout),
        turned_(op != CUBLAS_OP_N),
        compute_(compute),
        first_(index * layout.stride) {}
  float operator()(uint64_t row, uint64_t col) const {
    const uint64_t at = turned_ ? layout_.at(col, row) : layout_.at(row, col);
    return Narrow(Load(p_, layout_.type, first_ + at), compute_);
  }

 private:
  const void* const p_;
  const LayoutData& layout_;
  const bool turned_;
  const int32_t compute_;
  const uint64_t first_;
};

using Sums = std::array<float, kRows>;

// Adds the products of terms [begin, end): `a` [k, kRows], `b` [k].
void AddTerms(const float* a, const float* b, uint64_t begin, uint64_t end,
              Sums& sums) {
  for (uint64_t i = begin; i < end; ++i) {
    for (uint64_t row = 0; row < kRows; ++row) {
      sums[row] += a[i * kRows + row] * b[i];
    }
  }
}

void ComputeOne(const Problem& p, const Operands& o, float alpha, float beta,
                uint64_t split, int index) {
  const uint64_t m = p.m(), n = p.n(), k = p.k();
  const Input a(o.a, p.a, p.desc.op_a, p.desc.compute, index);
  const Input b(o.b, p.b, p.desc.op_b, p.desc.compute, index);
  std::vector<float> terms_b(n * k);  // [n, k]
  for (uint64_t i = 0; i < k; ++i) {
    for (uint64_t col = 0; col < n; ++col) terms_b[col * k + i] = b(i, col);
  }
  std::vector<float> terms_a(k * kRows);  // [k, kRows]
  for (uint64_t first = 0; first < m; first += kRows) {
    const uint64_t rows = std::min(kRows, m - first);
    for (uint64_t i = 0; i < k; ++i) {
      for (uint64_t row = 0; row < rows; ++row) {
        terms_a[i * kRows + row] = a(first + row, i);
      }
    }
    for (uint64_t col = 0; col < n; ++col) {
      Sums total = {};
      for (uint64_t part = 0; part < split; ++part) {
        Sums sums = {};
        AddTerms(terms_a.data(), &terms_b[col * k], k * part / split,
                 k * (part + 1) / split, sums);
        for (uint64_t row = 0; row < kRows; ++row) total[row] += sums[row];
      }
      for (uint64_t row = 0; row < rows; ++row) {
        const uint64_t at = p.d.at(first + row, col) + index * p.d.stride;
        float value = alpha * total[row];
        if (beta != 0) {  // else C may hold anything
          value += beta * Load(o.c, p.c.type,
                               p.c.at(first + row, col) + index * p.c.stride);
        }
        if (p.desc.has_bias()) {
          value += Load(p.desc.bias, p.d.type,
                        index * p.desc.bias_stride + first + row);
        }
        Store(o.d, p.d.type, at, value);
      }
    }
  }
}

}  // namespace

void Compute(const Problem& p, const Operands& o, float alpha, float beta,
             int split) {
  for (int i = 0; i < p.d.batch; ++i) ComputeOne(p, o, alpha, beta, split, i);
}

}  // namespace cuda_host

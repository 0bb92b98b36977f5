// Tested by tests/cuda/weight_codes_test.cc.
#include "runtime/cuda/weight_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mla::runtime {
namespace {

using kernels::FromF8E4M3;
using kernels::ToF8E4M3;

constexpr int kLargestCode = 0x7e;  // 448

// Whether values / scale are codes but for what three roundings of floats do.
bool AreCodes(absl::Span<const float> values, float scale) {
  return std::all_of(values.begin(), values.end(), [scale](float v) {
    const float x = v / scale;
    const float code = FromF8E4M3(ToF8E4M3(x));
    return std::fabs(x - code) <= 0x1p-21f * std::fabs(code);
  });
}

}  // namespace

float WeightScale(absl::Span<const float> values) {
  float most = 0;
  for (const float v : values) most = std::max(most, std::fabs(v));
  const float usual = most / FromF8E4M3(kLargestCode);
  // Of nothing, or with scales that floats do not hold in full.
  if (!std::isnormal(usual)) return most == 0 ? 1.0f : kernels::RowScale(most);
  for (int code = kLargestCode; code > 0; --code) {
    const float scale = most / FromF8E4M3(static_cast<uint8_t>(code));
    if (AreCodes(values, scale)) return scale;
  }
  return usual;
}

void EncodeWeightRow(const kernels::RowFormat& format,
                     absl::Span<const float> values, std::byte* to) {
  std::memset(to, 0, format.bytes);
  auto* codes = reinterpret_cast<uint8_t*>(to);
  for (size_t first = 0; first < values.size();
       first += kernels::kRowScaleElements) {
    const auto piece = values.subspan(first, kernels::kRowScaleElements);
    const float scale = WeightScale(piece);
    std::memcpy(to + format.scales_at +
                    first / kernels::kRowScaleElements * sizeof(float),
                &scale, sizeof(float));
    for (size_t i = 0; i < piece.size(); ++i) {
      codes[first + i] = ToF8E4M3(piece[i] / scale);
    }
  }
}

}  // namespace mla::runtime

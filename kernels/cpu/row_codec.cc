// Tested by tests/kernels/row_format_test.cc.
#include "kernels/cpu/row_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace mla::kernels {
namespace {

DType RestType(const RowFormat& format) {
  return format.dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
}

const std::byte* Rest(const RowFormat& f, const std::byte* row, int element) {
  return row + f.rest_at + (element - f.quantised) * SizeOf(RestType(f));
}

void LoadCodes(const InnerKernels& inner, const RowFormat& f,
               const std::byte* row, int first, int end, float* dst) {
  while (first < end) {
    const int group = first / kRowScaleElements;
    const int stop = std::min(end, (group + 1) * kRowScaleElements);
    float scale;
    std::memcpy(&scale, row + f.scales_at + 4 * group, 4);
    inner.to_float(DType::kF8E4M3, row + first, stop - first, dst);
    for (int i = 0; i < stop - first; ++i) dst[i] *= scale;
    dst += stop - first;
    first = stop;
  }
}

void StoreCodes(const RowFormat& f, const float* x, std::byte* row) {
  for (int first = 0; first < f.quantised; first += kRowScaleElements) {
    const int end = std::min(first + kRowScaleElements, f.quantised);
    float most = 0;
    for (int i = first; i < end; ++i) {
      most = std::max(most, std::fabs(x[i]));  // a NaN is never larger
    }
    const float scale = RowScale(most);
    const float inverse = 1 / scale;
    for (int i = first; i < end; ++i) {
      row[i] = std::byte{ToF8E4M3(x[i] * inverse)};
    }
    std::memcpy(row + f.scales_at + first / kRowScaleElements * 4, &scale, 4);
  }
}

}  // namespace

void LoadRow(const InnerKernels& inner, const RowFormat& format,
             const std::byte* row, int first, int count, float* dst) {
  const int codes = std::clamp(format.quantised - first, 0, count);
  LoadCodes(inner, format, row, first, first + codes, dst);
  if (codes == count) return;
  inner.to_float(RestType(format), Rest(format, row, first + codes),
                 count - codes, dst + codes);
}

void StoreRow(const InnerKernels& inner, const RowFormat& format,
              const float* x, std::byte* row) {
  StoreCodes(format, x, row);
  inner.from_float(RestType(format), x + format.quantised,
                   format.width - format.quantised, row + format.rest_at);
}

}  // namespace mla::kernels

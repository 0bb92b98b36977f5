// Tested by tests/kernels/quantise_test.cc.
#include "kernels/quantise.h"

#include <algorithm>
#include <cmath>

#include "kernels/dtype.h"

namespace mla::kernels {
namespace {

constexpr float kLargestHalf = 65504.0f;

float Half(float x) {
  return FromF16(ToF16(std::clamp(x, -kLargestHalf, kLargestHalf)));
}

void Round(const float (&w)[kGroup], int low, int high, QuantisedGroup& g) {
  for (int i = 0; i < kGroup; ++i) {
    const float steps = g.scale == 0 ? 0 : (w[i] - g.minimum) / g.scale;
    if (std::isnan(steps)) continue;
    g.q[i] =
        static_cast<int>(std::nearbyint(std::clamp<float>(steps, low, high)));
  }
}

// 0, or NaN if a weight is not finite.
float Poison(const float (&w)[kGroup]) {
  float sum = 0;
  for (const float x : w) sum += x * 0;
  return sum;
}

double SquaredError(const float (&w)[kGroup], const QuantisedGroup& g) {
  double sum = 0;
  for (int i = 0; i < kGroup; ++i) {
    const double error = double{g.scale} * g.q[i] + g.minimum - w[i];
    sum += error * error;
  }
  return sum;
}

}  // namespace

QuantisedGroup QuantiseBytes(const float (&w)[kGroup]) {
  float largest = 0;
  for (const float x : w) largest = std::max(largest, std::abs(x));
  QuantisedGroup g{Half(largest / 127), 0, {}};
  Round(w, -127, 127, g);
  g.scale += Poison(w);
  return g;
}

QuantisedGroup QuantiseNibbles(const float (&w)[kGroup]) {
  const auto [low, high] = std::minmax_element(w, w + kGroup);
  struct Range {
    float scale;
    float minimum;
  };
  // Q4_0 gives the weight of the largest magnitude step -8 of -8 ... 7.
  const Range ranges[] = {
      {(*high - *low) / 15, *low}, {-*low / 8, *low}, {-*high / 8, *high}};
  QuantisedGroup best{};
  double least = INFINITY;
  for (const Range& range : ranges) {
    QuantisedGroup g{Half(range.scale), Half(range.minimum), {}};
    Round(w, 0, 15, g);
    const double error = SquaredError(w, g);
    if (!(error >= least)) {
      least = error;
      best = g;
    }
  }
  best.scale += Poison(w);
  return best;
}

}  // namespace mla::kernels

// The figures of a position, against their definitions in long double.
#include "runtime/convert/logit_comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace mla::runtime {
namespace {

using Logits = std::vector<float>;

std::vector<long double> LogSoftmax(const Logits& x) {
  const long double most = *std::max_element(x.begin(), x.end());
  long double sum = 0;
  for (float v : x) sum += std::exp(v - most);
  std::vector<long double> y;
  for (float v : x) y.push_back(v - most - std::log(sum));
  return y;
}

Logits RandomLogits(std::mt19937& random, int count, float size, float mean) {
  std::normal_distribution<float> normal(mean, size);
  Logits x;
  for (int i = 0; i < count; ++i) x.push_back(normal(random));
  return x;
}

LogitComparison Compare(const Logits& a, const Logits& b, int32_t target,
                        size_t part) {
  LogitComparison comparison(target);
  for (size_t first = 0; first < a.size(); first += part) {
    comparison.Add(absl::MakeSpan(a).subspan(first, part),
                   absl::MakeSpan(b).subspan(first, part));
  }
  return comparison;
}

// Rounding: a few units in the last place of sums of `size`d logits.
void ExpectDefinition(const Logits& a, const Logits& b, double size) {
  const auto p = LogSoftmax(a), q = LogSoftmax(b);
  long double kl = 0;
  for (size_t i = 0; i < a.size(); ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
  const double bound = 1e-14 * size * static_cast<double>(a.size());
  for (const size_t part : {size_t{1}, size_t{7}, a.size(), a.size() + 5}) {
    for (const size_t target : {size_t{0}, a.size() / 2, a.size() - 1}) {
      const LogitComparison c =
          Compare(a, b, static_cast<int32_t>(target), part);
      EXPECT_NEAR(c.source_nll(), static_cast<double>(-p[target]), bound);
      EXPECT_NEAR(c.converted_nll(), static_cast<double>(-q[target]), bound);
      EXPECT_NEAR(c.Kl(), static_cast<double>(kl), bound);
      EXPECT_EQ(c.SameBest(),
                std::max_element(a.begin(), a.end()) - a.begin() ==
                    std::max_element(b.begin(), b.end()) - b.begin());
    }
  }
}

TEST(LogitComparison, IsTheDefinition) {
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    const Logits a = RandomLogits(random, 83, 3, 0);
    Logits b = a;
    for (float& v : b) v += std::normal_distribution<float>(1, 0.5f)(random);
    ExpectDefinition(a, b, 10);
    ExpectDefinition(b, RandomLogits(random, 83, 3, 0), 10);
  }
}

TEST(LogitComparison, LargeLogitsDoNotOverflow) {
  std::mt19937 random(6);
  for (const float mean : {-3e4f, 3e4f}) {
    ExpectDefinition(RandomLogits(random, 40, 500, mean),
                     RandomLogits(random, 40, 500, -mean), 3e4);
  }
  // Rising and falling, so that the largest is the last or the first.
  Logits rising;
  for (int i = 0; i < 50; ++i) rising.push_back(100.0f * i);
  const Logits falling(rising.rbegin(), rising.rend());
  ExpectDefinition(rising, falling, 5e3);
  ExpectDefinition(falling, rising, 5e3);
}

TEST(LogitComparison, EqualModelsLoseNothing) {
  std::mt19937 random(7);
  const Logits a = RandomLogits(random, 100, 5, 2);
  const LogitComparison same = Compare(a, a, 3, 9);
  EXPECT_EQ(same.Kl(), 0);
  EXPECT_EQ(same.source_nll(), same.converted_nll());
  EXPECT_TRUE(same.SameBest());
  // A constant on top changes no prediction; whole numbers, that it is exact.
  Logits whole, shifted;
  for (int i = 0; i < 64; ++i) {
    whole.push_back(static_cast<float>(i * 7 % 19));
    shifted.push_back(whole.back() + 64);
  }
  EXPECT_NEAR(Compare(whole, shifted, 3, 9).Kl(), 0, 1e-12);
  EXPECT_TRUE(Compare(whole, shifted, 3, 9).SameBest());
}

TEST(LogitComparison, OfEqualLogitsTheFirstIsTheBest) {
  EXPECT_TRUE(Compare({1, 4, 4, 0}, {0, 9, 0, 9}, 0, 2).SameBest());
  EXPECT_FALSE(Compare({1, 4, 4, 0}, {0, 0, 9, 9}, 0, 2).SameBest());
}

TEST(LogitComparison, WhatIsNotFiniteShows) {
  const float nan = std::nanf("");
  EXPECT_FALSE(std::isfinite(Compare({1, nan, 2}, {1, 2, 3}, 0, 3).Kl()));
  EXPECT_FALSE(
      std::isfinite(Compare({1, 0, 2}, {1, nan, 3}, 0, 1).converted_nll()));
}

}  // namespace
}  // namespace mla::runtime

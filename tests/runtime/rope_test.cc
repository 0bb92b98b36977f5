// Rotation angles. What a model's rule makes of its frequencies is held end to
// end by model_golden_test (default, llama3, yarn, longrope); here are the
// rules those models do not reach, written out again in double, and bad input.
#include "runtime/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nlohmann/json.hpp"

namespace mla::runtime {
namespace {

using nlohmann::json;

double Frequency(int i, int dim, double theta) {
  return std::pow(theta, -2.0 * i / dim);
}

// Float powers of float exponents: a few units in the last place.
constexpr double kRelative = 8 * 0x1.0p-23;

TEST(Rope, DefaultTurnsPairIByThetaToMinus2iOverDim) {
  const Rope rope = DefaultRope(64, 10000);
  ASSERT_EQ(rope.inv_freq.size(), 32u);
  for (int i = 0; i < 32; ++i) {
    const double f = Frequency(i, 64, 10000);
    EXPECT_NEAR(rope.inv_freq[i], f, f * kRelative);
  }
  float cos[32], sin[32];
  rope.Angles(17, false, cos, sin);
  EXPECT_NEAR(cos[0], std::cos(17.0), 1e-6);
  EXPECT_NEAR(sin[0], std::sin(17.0), 1e-6);
  EXPECT_NEAR(sin[31], std::sin(17 * Frequency(31, 64, 10000)), 1e-6);
}

TEST(Rope, LinearDividesEveryFrequency) {
  const auto rope = RopeFromConfig(
      32, 10000, 4096, json{{"rope_type", "linear"}, {"factor", 4.0}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  for (int i = 0; i < 16; ++i) {
    const double f = Frequency(i, 32, 10000) / 4;
    EXPECT_NEAR(rope->inv_freq[i], f, f * kRelative);
  }
}

TEST(Rope, LongropeTurnsLongPromptsWithTheirOwnFactors) {
  const auto rope =
      RopeFromConfig(4, 100, 2000,
                     json{{"type", "longrope"},
                          {"original_max_position_embeddings", 1000},
                          {"short_factor", {1.0, 2.0}},
                          {"long_factor", {4.0, 8.0}}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  EXPECT_EQ(rope->long_above, 1000);
  const double amplitude = std::sqrt(1 + std::log(2.0) / std::log(1000.0));
  EXPECT_NEAR(rope->amplitude, amplitude, 1e-6);
  float cos[2], sin[2];
  rope->Angles(3, /*long_prompt=*/true, cos, sin);
  EXPECT_NEAR(sin[0], std::sin(3.0 / 4) * amplitude, 1e-6);
  EXPECT_NEAR(sin[1], std::sin(3 * Frequency(1, 4, 100) / 8) * amplitude, 1e-6);
  rope->Angles(3, /*long_prompt=*/false, cos, sin);
  EXPECT_NEAR(sin[0], std::sin(3.0) * amplitude, 1e-6);
}

TEST(Rope, BadScalingIsAPreciseError) {
  const auto message = [](json scaling) {
    const auto rope = RopeFromConfig(8, 10000, 4096, scaling);
    EXPECT_FALSE(rope.ok()) << scaling;
    return std::string(rope.status().message());
  };
  EXPECT_NE(message({{"rope_type", "spiral"}}).find("'spiral'"),
            std::string::npos);
  EXPECT_NE(message({{"rope_type", "linear"}, {"factor", 0}}).find("factor"),
            std::string::npos);
  EXPECT_NE(
      message({{"rope_type", "linear"}, {"factor", "two"}}).find("number"),
      std::string::npos);
  EXPECT_NE(message({{"rope_type", "llama3"}, {"high_freq_factor", 1.0}})
                .find("high_freq_factor"),
            std::string::npos);
  EXPECT_NE(message({{"rope_type", "longrope"}, {"short_factor", {1.0}}})
                .find("1 values for 4"),
            std::string::npos);
  EXPECT_NE(message({{"rope_type", "yarn"}, {"factor", -1}}).find("factor"),
            std::string::npos);
}

// transformers' dynamic NTK changes the base only past max_position, which is
// where a context ends here.
TEST(Rope, DynamicIsPlainWithinTheContext) {
  const auto rope = RopeFromConfig(16, 10000.0, 2048,
                                   {{"rope_type", "dynamic"}, {"factor", 4.0}});
  ASSERT_TRUE(rope.ok()) << rope.status();
  for (int i = 0; i < 8; ++i) {
    EXPECT_FLOAT_EQ(rope->inv_freq[i], std::pow(10000.0, -i / 8.0));
  }
  EXPECT_EQ(rope->amplitude, 1.0f);
}

}  // namespace
}  // namespace mla::runtime

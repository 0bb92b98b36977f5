// Cached rows of every type: where elements lie, and what is read of what was
// written.
#include "kernels/row_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/row_codec.h"
#include "tests/support/isa.h"
#include "tests/support/random.h"

namespace mla::kernels {
namespace {

using ::mla::testing::RandomFloats;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(RowFormatTest, Fp8RowOfDeepSeekIsFlashMlas) {
  const RowFormat f = RowFormatOf(MlaLayout(16, 512, 64), DType::kF8E4M3);
  EXPECT_EQ(f.quantised, 512);
  EXPECT_EQ(f.scales_at, 512);
  EXPECT_EQ(f.rest_at, 528);
  EXPECT_EQ(f.bytes, 656);
}

TEST(RowFormatTest, KeepsWhatGroupsShareBehindTheLatents) {
  // DeepSeek-V3.2: rope key and indexer's key.
  EXPECT_EQ(RowFormatOf(MlaLayout(16, 512, 64, 128), DType::kF8E4M3).quantised,
            512);
  EXPECT_EQ(RowFormatOf(MlaLayout(4, 96, 0), DType::kF8E4M3).quantised, 96);
  const RowFormat gqa = RowFormatOf(GqaLayout(9, 3, 64), DType::kF8E4M3);
  EXPECT_EQ(gqa.quantised, gqa.width);
  EXPECT_EQ(gqa.bytes, 384 + 3 * 4 + 4);  // whole pieces of 16
}

TEST(RowFormatTest, PartsOfOddRowsDoNotOverlapAndAreAligned) {
  for (int latent = 1; latent < 300; ++latent) {
    for (const int rope : {0, 1, 8, 31}) {
      const RowFormat f =
          RowFormatOf(MlaLayout(1, latent, rope), DType::kF8E4M3);
      ASSERT_EQ(f.quantised, latent);
      ASSERT_GE(f.scales_at, latent);
      ASSERT_EQ(f.scales_at % 4, 0);
      ASSERT_GE(f.rest_at, f.scales_at + (latent + 127) / 128 * 4);
      ASSERT_EQ(f.rest_at % 16, 0);
      ASSERT_GE(f.bytes, f.rest_at + 2 * rope);
      ASSERT_EQ(f.bytes % 16, 0);
      ASSERT_LT(f.bytes, f.rest_at + 2 * rope + 16);
    }
  }
}

TEST(RowFormatTest, PlainRowsAreTheirElements) {
  const AttnLayout layout = MlaLayout(3, 40, 9);
  EXPECT_EQ(RowFormatOf(layout, DType::kBF16).bytes, 98);
  EXPECT_EQ(RowFormatOf(layout, DType::kF32).bytes, 196);
  EXPECT_EQ(RowFormatOf(layout, DType::kF32).quantised, 0);
}

// Of all codes the nearest, the even one of two. dequantize_test holds their
// values to ml_dtypes'.
uint8_t NearestCode(float x) {
  uint8_t best = 0;
  double distance = std::numeric_limits<double>::infinity();
  for (int code = 0; code < 0x7f; ++code) {
    const uint8_t signed_code = std::signbit(x) ? code | 0x80 : code;
    const double d = std::fabs(double{x} - FromF8E4M3(signed_code));
    if (d < distance || (d == distance && code % 2 == 0)) {
      distance = d;
      best = signed_code;
    }
  }
  return best;
}

TEST(RowFormatTest, CodesAreTheNearest) {
  std::vector<float> values = RandomFloats(2000, 3, 500.0f);
  for (const float x : RandomFloats(2000, 4, 0.05f)) values.push_back(x);
  for (int code = 0; code < 0x7e; ++code) {
    const float a = FromF8E4M3(code), b = FromF8E4M3(code + 1);
    for (const float x : {a, (a + b) / 2, std::nextafter((a + b) / 2, b),
                          std::nextafter((a + b) / 2, a)}) {
      values.push_back(x);
      values.push_back(-x);
    }
  }
  for (const float x : {1e30f, 1e-30f, 448.1f}) values.push_back(x);
  for (const float x : values) ASSERT_EQ(ToF8E4M3(x), NearestCode(x)) << x;
  EXPECT_TRUE(std::isnan(FromF8E4M3(ToF8E4M3(NAN))));
  EXPECT_TRUE(std::isnan(FromF8E4M3(ToF8E4M3(-kInfinity))));
}

TEST(RowFormatTest, ScalesAreTheSmallestPowersOfTwoThatReach) {
  std::mt19937 random(1);
  for (int i = 0; i < 10000; ++i) {
    const float most =
        std::ldexp(1.0f + static_cast<float>(random() % (1 << 23)) * 0x1.0p-23f,
                   static_cast<int>(random() % 160) - 80);
    const float scale = RowScale(most);
    int exponent;
    ASSERT_EQ(std::frexp(scale, &exponent), 0.5f);
    ASSERT_LE(most / scale, 448.0f);
    ASSERT_GT(most / (scale / 2), 448.0f);
  }
  EXPECT_EQ(RowScale(448.0f), 1.0f);
  EXPECT_EQ(RowScale(std::nextafter(448.0f, kInfinity)), 2.0f);
  for (const float most : {0.0f, 1e-45f, kInfinity}) {
    EXPECT_TRUE(std::isfinite(RowScale(most)) && RowScale(most) > 0);
    EXPECT_TRUE(std::isfinite(1 / RowScale(most)));
  }
}

class RowCodecTest : public mla::testing::IsaTest {
 protected:
  const InnerKernels& inner_ = GetInnerKernels(GetParam());

  std::vector<std::byte> Store(const RowFormat& f,
                               const std::vector<float>& x) {
    std::vector<std::byte> row(f.bytes);
    StoreRow(inner_, f, x.data(), row.data());
    return row;
  }
  std::vector<float> Load(const RowFormat& f, const std::vector<std::byte>& row,
                          int first, int count) {
    std::vector<float> x(count);
    LoadRow(inner_, f, row.data(), first, count, x.data());
    return x;
  }
};
MLA_FOR_EACH_ISA(RowCodecTest);

TEST_P(RowCodecTest, ElementsAreThoseOfTheirType) {
  for (const int latent : {1, 5, 64, 127, 128, 129, 512}) {
    const RowFormat f = RowFormatOf(MlaLayout(1, latent, 24), DType::kF8E4M3);
    std::vector<float> x = RandomFloats(f.width, latent);
    for (int i = 0; i < latent; i += 3) x[i] *= 1e-3f;  // codes of all sizes
    const std::vector<float> y = Load(f, Store(f, x), 0, f.width);
    for (int i = 0; i < f.width; ++i) {
      if (i >= latent) {
        EXPECT_EQ(y[i], FromBF16(ToBF16(x[i])));
        continue;
      }
      float most = 0;
      const int first = i / 128 * 128;
      for (int j = first; j < std::min(first + 128, latent); ++j) {
        most = std::max(most, std::fabs(x[j]));
      }
      // Half a step: 2^-4 of the element, or of the smallest codes 2^-10.
      const float step =
          std::max(std::fabs(x[i]) * 0x1.0p-4f, RowScale(most) * 0x1.0p-10f);
      EXPECT_NEAR(y[i], x[i], step) << latent << " " << i;
      EXPECT_EQ(y[i], FromBF16(ToBF16(y[i]))) << "exact in bf16";
    }
  }
}

TEST_P(RowCodecTest, AnyPartIsThatOfTheWhole) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    const RowFormat f = RowFormatOf(MlaLayout(1, 200, 24), dtype);
    const std::vector<std::byte> row = Store(f, RandomFloats(f.width, 9));
    const std::vector<float> whole = Load(f, row, 0, f.width);
    for (int first = 0; first < f.width; first += 7) {
      for (const int count : {0, 1, 16, f.width - first}) {
        if (first + count > f.width) continue;
        const auto begin = whole.begin() + first;
        EXPECT_EQ(Load(f, row, first, count),
                  std::vector<float>(begin, begin + count));
      }
    }
  }
}

TEST_P(RowCodecTest, AnyScaleIsRead) {
  const RowFormat f = RowFormatOf(128, DType::kF8E4M3);
  std::vector<std::byte> row = Store(f, RandomFloats(128, 2));
  const float scale = 0.3f;
  std::memcpy(row.data() + f.scales_at, &scale, 4);
  const std::vector<float> y = Load(f, row, 0, 128);
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(y[i], FromF8E4M3(static_cast<uint8_t>(row[i])) * scale);
  }
}

TEST_P(RowCodecTest, ANanIsItsElementsOnly) {
  const RowFormat f = RowFormatOf(200, DType::kF8E4M3);
  std::vector<float> x = RandomFloats(200, 5);
  const std::vector<float> before = Load(f, Store(f, x), 0, 200);
  x[70] = NAN;
  x[170] = NAN;
  const std::vector<float> after = Load(f, Store(f, x), 0, 200);
  int changed = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 70 || i == 170) {
      EXPECT_TRUE(std::isnan(after[i]));
    } else if (after[i] != before[i]) {
      ++changed;  // where a NaN took the place of the largest
    }
  }
  EXPECT_EQ(changed, 0);
  x[3] = kInfinity;
  EXPECT_TRUE(std::isnan(Load(f, Store(f, x), 3, 1)[0]));
}

}  // namespace
}  // namespace mla::kernels

// The host form of every primitive against its definition in the PTX ISA,
// written as a loop over matrices or lanes, and what is said of its misuse.
#include "kernels/cuda/primitives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "cuda_host/engine.h"
#include "cuda_host/every_order.h"
#include "tests/support/random.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::Engine;
using cuda_host::ErrorsOf;
using cuda_host::kSchedules;
using cuda_host::RunKernel;
using cuda_host::Schedule;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

int Thread() { return static_cast<int>(threadIdx.x); }

std::vector<uint16_t> RandomBf16(size_t count, uint64_t seed) {
  std::vector<uint16_t> bits;
  for (const float x : testing::RandomFloats(count, seed)) {
    bits.push_back(FloatToBf16(x));
  }
  return bits;
}

// ---- warps

TEST(Primitives, ShuffleXorReadsTheLaneThatTheMaskNames) {
  for (const Schedule& schedule : kSchedules) {
    std::array<int, 64> ints = {};
    std::array<float, 64> floats = {};
    for (const int mask : {0, 1, 2, 5, 16, 31, 33}) {
      RunKernel(schedule, 1, 64, 0, [&] {
        ints[threadIdx.x] = ShuffleXor(Thread() * 3, mask);
        floats[threadIdx.x] =
            ShuffleXor(static_cast<float>(Thread()) + 0.5f, mask);
      });
      for (int i = 0; i < 64; ++i) {
        const int from = i / 32 * 32 + (i % 32 ^ (mask % 32));
        ASSERT_EQ(ints[i], from * 3) << mask;
        ASSERT_EQ(floats[i], static_cast<float>(from) + 0.5f) << mask;
      }
    }
  }
}

TEST(Primitives, ShuffleReadsAnyLaneOfTheWarp) {
  for (const Schedule& schedule : kSchedules) {
    std::array<int, 64> got = {};
    RunKernel(schedule, 1, 64, 0, [&] {
      got[threadIdx.x] = Shuffle(Thread() + 100, Thread() * 7 + 3);
    });
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(got[i], i / 32 * 32 + (i * 7 + 3) % 32 + 100);
    }
  }
}

TEST(Primitives, BallotHasABitPerLane) {
  for (const Schedule& schedule : kSchedules) {
    std::array<uint32_t, 64> got = {};
    RunKernel(schedule, 1, 64, 0,
              [&] { got[threadIdx.x] = Ballot(Thread() % 3 == 0); });
    uint32_t want[2] = {0, 0};
    for (int i = 0; i < 64; i += 3) want[i / 32] |= 1u << i % 32;
    for (int i = 0; i < 64; ++i) EXPECT_EQ(got[i], want[i / 32]);
  }
}

TEST(Primitives, WarpMaxAndSumAreTheSameInEveryLane) {
  const std::vector<float> in = testing::RandomFloats(32, 1);
  std::array<float, 32> most = {}, sum = {};
  RunKernel(1, 32, 0, [&] {
    most[threadIdx.x] = WarpMax(in[threadIdx.x]);
    sum[threadIdx.x] = WarpSum(in[threadIdx.x]);
  });
  double exact = 0;
  for (const float x : in) exact += x;
  EXPECT_THAT(most, Each(*std::max_element(in.begin(), in.end())));
  EXPECT_THAT(sum, Each(sum[0]));
  EXPECT_NEAR(sum[0], exact, 1e-5);
}

TEST(Primitives, AtomicAddGivesTheValueBefore) {
  constexpr int kThreads = 70, kBlocks = 3;
  for (const Schedule& schedule : kSchedules) {
    int total = 5;
    std::vector<int> before(kThreads * kBlocks);
    RunKernel(schedule, kBlocks, kThreads, 0, [&] {
      const int i = static_cast<int>(blockIdx.x) * kThreads + Thread();
      before[i] = AtomicAdd(&total, 2);
    });
    EXPECT_EQ(total, 5 + 2 * kThreads * kBlocks);
    std::sort(before.begin(), before.end());
    for (int i = 0; i < kThreads * kBlocks; ++i) {
      EXPECT_EQ(before[i], 5 + 2 * i);
    }
  }
}

TEST(Primitives, AtomicAddOf64BitsCarries) {
  uint64_t total = 0xffffffffu;
  RunKernel(2, 64, 0, [&] { AtomicAdd(&total, uint64_t{0x100000001}); });
  EXPECT_EQ(total, 0xffffffffu + 128 * uint64_t{0x100000001});
}

// ---- asynchronous copies

struct alignas(16) Source {
  unsigned char bytes[4096];
  Source() {
    for (size_t i = 0; i < sizeof(bytes); ++i) {
      bytes[i] = static_cast<unsigned char>(i * 37 + 11);
    }
  }
};

TEST(CopyAsync, DataIsThereAfterTheWaitAndABarrier) {
  constexpr int kThreads = 64;
  const Source source;
  for (Schedule schedule : kSchedules) {
    for (const bool eager : {false, true}) {
      schedule.eager_copies = eager;
      std::vector<unsigned char> got(kThreads * 16);
      RunKernel(schedule, 1, kThreads, kThreads * 16, [&] {
        MLA_SHARED_MEMORY(memory);
        const int i = Thread(), from = kThreads - 1 - i;
        // Bytes behind the given ones are zeros.
        CopyAsync16(memory + i * 16, source.bytes + i * 32, i % 5 * 4);
        CopyAsyncCommit();
        CopyAsyncWait<0>();
        SyncBlock();
        std::memcpy(&got[from * 16], memory + from * 16, 16);
      });
      for (int i = 0; i < kThreads * 16; ++i) {
        const bool is_copied = i % 16 < i / 16 % 5 * 4;
        ASSERT_EQ(got[i], is_copied ? source.bytes[i / 16 * 32 + i % 16] : 0)
            << i;
      }
    }
  }
}

TEST(CopyAsync, WaitLeavesTheNewestGroupsUnderWay) {
  const Source source;
  std::vector<int> landed;
  RunKernel(1, 1, 256, [&] {
    MLA_SHARED_MEMORY(memory);
    const auto count = [&] {
      int n = 0;
      while (n < 4 && memory[n * 16] == source.bytes[n * 16]) ++n;
      landed.push_back(n);
    };
    for (int i = 0; i < 4; ++i) {
      CopyAsync16(memory + i * 16, source.bytes + i * 16, 16);
      CopyAsyncCommit();
    }
    count();
    CopyAsyncWait<4>();
    count();
    CopyAsyncWait<3>();
    count();
    CopyAsyncWait<1>();
    count();
    CopyAsyncWait<1>();
    count();
    CopyAsyncCommit();  // an empty group counts
    CopyAsyncWait<1>();
    count();
  });
  EXPECT_THAT(landed, ::testing::ElementsAre(0, 0, 1, 3, 3, 4));
}

TEST(CopyAsync, WhatIsNotWaitedForReadsAsNaN) {
  const Source source;
  std::vector<float> got(32);
  const auto kernel = [&] {
    MLA_SHARED_MEMORY(memory);
    float* place = reinterpret_cast<float*>(memory + Thread() * 16);
    *place = 1.0f;
    CopyAsync16(place, source.bytes, 16);
    CopyAsyncCommit();
    got[Thread()] = *place;
    CopyAsyncWait<0>();
  };
  RunKernel(1, 32, 512, kernel);
  EXPECT_THAT(got, Each(::testing::IsNan()));
  Schedule eager;
  eager.eager_copies = true;
  RunKernel(eager, 1, 32, 512, kernel);
  EXPECT_THAT(got, Each(::testing::Not(::testing::IsNan())));
}

TEST(CopyAsync, MisuseIsAnError) {
  static const Source source;
  alignas(16) static unsigned char plain[32];
  const auto errors = [](auto copy) {
    return ErrorsOf(1, 64, [copy] {
      MLA_SHARED_MEMORY(memory);
      copy(memory);
      CopyAsyncCommit();
      CopyAsyncWait<0>();
    });
  };
  using Bytes = unsigned char*;
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m + 8, source.bytes, 16); }),
              Each(HasSubstr("thread 0 (warp 0, lane 0) at CopyAsync16 "
                             "(primitives_test.cc:")));
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m + 8, source.bytes, 16); }),
              Each(HasSubstr("destination at 8 in shared memory is no multiple "
                             "of 16")));
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m, source.bytes + 4, 16); }),
              Each(HasSubstr("source is not at a multiple of 16")));
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m, nullptr, 0); }),
              Each(HasSubstr("source is not at a multiple of 16")));
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m, m + 16, 16); }),
              Each(HasSubstr("source is in shared memory")));
  EXPECT_THAT(errors([](Bytes m) { CopyAsync16(m, source.bytes, 17); }),
              Each(HasSubstr("17 bytes of 16")));
  for (const int at : {-16, 64, 1 << 30}) {
    EXPECT_THAT(
        errors([at](Bytes m) { CopyAsync16(m + at, source.bytes, 16); }),
        Each(HasSubstr("not inside the 64 bytes of shared memory")));
  }
  EXPECT_THAT(errors([](Bytes) { CopyAsync16(plain, source.bytes, 16); }),
              Each(HasSubstr("not inside the 64 bytes of shared memory")));
  EXPECT_THAT(errors([](Bytes m) {
                CopyAsync16(m, source.bytes, 16);
                m[3] = 0;
              }),
              Each(HasSubstr("was written before the copy was waited for")));
  EXPECT_THAT(errors([](Bytes m) {
                CopyAsync16(m, source.bytes, 16);
                CopyAsyncCommit();
                CopyAsync16(m, source.bytes + 16, 16);
              }),
              Each(HasSubstr("was written before the copy was waited for")));
}

TEST(CopyAsync, NoThreadExitsWithCopiesUnderWay) {
  static const Source source;
  for (const bool committed : {false, true}) {
    EXPECT_THAT(ErrorsOf(8, 64,
                         [committed] {
                           MLA_SHARED_MEMORY(memory);
                           if (Thread() != 6) return;
                           CopyAsync16(memory, source.bytes, 16);
                           if (committed) CopyAsyncCommit();
                         }),
                Each(HasSubstr("thread 6 (warp 0, lane 6) exits with a copy "
                               "under way, issued at primitives_test.cc:")));
  }
  EXPECT_THAT(ErrorsOf(1, 64, [] { CopyAsyncCommit(); }), Each(""));
}

// ---- ldmatrix

// Four matrices [8][8], the rows of each behind the other in a random order of
// places, as lane l finds row l % 8 of matrix l / 8.
struct Matrices {
  std::vector<uint16_t> element = RandomBf16(4 * 64, 3);
  std::vector<int> place;  // of 32 rows, in rows

  Matrices() {
    for (int i = 0; i < 32; ++i) place.push_back((i * 13 + 5) % 32);
  }
  uint16_t At(int m, int row, int column) const {
    return element[(m * 8 + row) * 8 + column];
  }
  void Write(unsigned char* memory) const {
    for (int i = 0; i < 32; ++i) {
      std::memcpy(memory + place[i] * 16, &element[i * 8], 16);
    }
  }
};

TEST(LoadMatrix, LaneHoldsTwoElementsOfItsRow) {
  const Matrices matrices;
  for (const Schedule& schedule : kSchedules) {
    for (const bool transposed : {false, true}) {
      uint32_t r[64][4] = {};
      RunKernel(schedule, 1, 64, 512, [&] {
        MLA_SHARED_MEMORY(memory);
        if (Thread() == 0) matrices.Write(memory);
        SyncBlock();
        const void* row = memory + matrices.place[Thread() % 32] * 16;
        if (transposed) {
          LoadMatrixTransposed(r[Thread()], row);
        } else {
          LoadMatrix(r[Thread()], row);
        }
      });
      // PTX ISA: "each row is stored as fragments by a group of four threads".
      for (int m = 0; m < 4; ++m) {
        for (int row = 0; row < 8; ++row) {
          for (int column = 0; column < 8; ++column) {
            const int lane = row * 4 + column / 2;
            const auto got =
                static_cast<uint16_t>(r[lane][m] >> column % 2 * 16);
            ASSERT_EQ(got, transposed ? matrices.At(m, column, row)
                                      : matrices.At(m, row, column));
            ASSERT_EQ(r[lane + 32][m], r[lane][m]);
          }
        }
      }
    }
  }
}

TEST(LoadMatrix, MisuseIsAnError) {
  const auto errors = [](int lane, int at) {
    return ErrorsOf(32, 512, [lane, at] {
      MLA_SHARED_MEMORY(memory);
      uint32_t r[4];
      LoadMatrix(r, memory + (Thread() == lane ? at : Thread() * 16));
    });
  };
  EXPECT_THAT(errors(3, 48), Each(""));
  EXPECT_THAT(
      errors(3, 50),
      Each(AllOf(
          HasSubstr("(warp 0, lane 3) at LoadMatrix (primitives_test.cc:"),
          HasSubstr("the row at 50 in shared memory is no multiple of 16"))));
  EXPECT_THAT(errors(31, 512),
              Each(HasSubstr("not inside the 512 bytes of shared memory")));
  EXPECT_THAT(errors(0, -16),
              Each(HasSubstr("not inside the 512 bytes of shared memory")));
}

TEST(LoadMatrix, RowsInTheSameBanksCostWavefronts) {
  // Of the 8 rows of a matrix at multiples of `stride` bytes, those that are
  // congruent by 128 are read one after the other.
  const auto extra = [](int stride, int matrix_stride) {
    Engine::Get().ResetCounters();
    RunKernel(1, 32, 8192, [&] {
      MLA_SHARED_MEMORY(memory);
      uint32_t r[4];
      LoadMatrix(r,
                 memory + Thread() / 8 * matrix_stride + Thread() % 8 * stride);
    });
    EXPECT_EQ(Engine::Get().counters().load_matrix, 1u);
    return Engine::Get().counters().load_matrix_extra_wavefronts;
  };
  EXPECT_EQ(extra(16, 128), 0u);
  EXPECT_EQ(extra(144, 16), 0u);  // padded rows
  EXPECT_EQ(extra(32, 256), 4u);
  EXPECT_EQ(extra(64, 512), 12u);
  EXPECT_EQ(extra(128, 16), 28u);
  EXPECT_EQ(extra(1024, 0), 28u);
  EXPECT_EQ(extra(0, 16), 0u);  // one address: read once
}

// ---- mma

// Fragments of mma.m16n8k16 as the PTX ISA has them: element `i` of lane `l`.
struct Element {
  int row, column;
};
Element OfA(int l, int i) {
  const int group = l >> 2, in_group = l % 4;
  return {i < 2 || (4 <= i && i < 6) ? group : group + 8,
          in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
}
Element OfB(int l, int i) {
  const int group = l >> 2, in_group = l % 4;
  return {in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0), group};
}
Element OfC(int l, int i) {
  const int group = l >> 2, in_group = l % 4;
  return {i < 2 ? group : group + 8, in_group * 2 + (i & 1)};
}

float ToFloat(uint16_t h) { return Bf16ToFloat(h); }

TEST(MmaBf16, IsTheProductOfTheFragments) {
  const std::vector<uint16_t> a = RandomBf16(16 * 16, 5),
                              b = RandomBf16(16 * 8, 6);
  const std::vector<float> c = testing::RandomFloats(16 * 8, 7);
  const auto pair = [](uint16_t low, uint16_t high) {
    return uint32_t{low} | uint32_t{high} << 16;
  };
  for (const Schedule& schedule : kSchedules) {
    std::vector<float> got(16 * 8, kNaN);
    RunKernel(schedule, 1, 32, 0, [&] {
      const int l = Thread();
      const auto at_a = [&](int i) {
        return a[OfA(l, i).row * 16 + OfA(l, i).column];
      };
      const auto at_b = [&](int i) {
        return b[OfB(l, i).row * 8 + OfB(l, i).column];
      };
      float d[4];
      for (int i = 0; i < 4; ++i)
        d[i] = c[OfC(l, i).row * 8 + OfC(l, i).column];
      const uint32_t fragment[4] = {
          pair(at_a(0), at_a(1)), pair(at_a(2), at_a(3)),
          pair(at_a(4), at_a(5)), pair(at_a(6), at_a(7))};
      MmaBf16(d, fragment, pair(at_b(0), at_b(1)), pair(at_b(2), at_b(3)));
      for (int i = 0; i < 4; ++i) {
        got[OfC(l, i).row * 8 + OfC(l, i).column] = d[i];
      }
    });
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        double want = c[row * 8 + column], size = std::fabs(want);
        for (int k = 0; k < 16; ++k) {
          const double product =
              double{ToFloat(a[row * 16 + k])} * ToFloat(b[k * 8 + column]);
          want += product;
          size += std::fabs(product);
        }
        // 17 roundings of partial sums no larger than `size`.
        ASSERT_NEAR(got[row * 8 + column], want, 17 * 0x1p-24 * size);
      }
    }
  }
}

// C = A B from shared memory: A by rows, B [k][n] through the transpose.
TEST(MmaBf16, TakesWhatLoadMatrixGives) {
  const std::vector<uint16_t> a = RandomBf16(16 * 16, 8),
                              b = RandomBf16(16 * 16, 9);
  std::vector<float> got(16 * 16, kNaN);
  RunKernel(1, 32, 1024, [&] {
    MLA_SHARED_MEMORY(memory);
    const int l = Thread();
    std::memcpy(memory + l * 16, &a[l * 8], 16);
    std::memcpy(memory + 512 + l * 16, &b[l * 8], 16);
    SyncBlock();
    uint32_t ra[4], rb[4];
    LoadMatrix(ra, memory + l % 16 * 32 + l / 16 * 16);
    LoadMatrixTransposed(rb, memory + 512 + l % 16 * 32 + l / 16 * 16);
    for (int half = 0; half < 2; ++half) {
      float d[4] = {};
      MmaBf16(d, ra, rb[half * 2], rb[half * 2 + 1]);
      for (int i = 0; i < 4; ++i) {
        got[OfC(l, i).row * 16 + half * 8 + OfC(l, i).column] = d[i];
      }
    }
  });
  for (int i = 0; i < 256; ++i) {
    double want = 0, size = 0;
    for (int k = 0; k < 16; ++k) {
      const double product =
          double{ToFloat(a[i / 16 * 16 + k])} * ToFloat(b[k * 16 + i % 16]);
      want += product;
      size += std::fabs(product);
    }
    ASSERT_NEAR(got[i], want, 17 * 0x1p-24 * size) << i;
  }
}

TEST(Primitives, CountersAreExact) {
  const Source source;
  for (const Schedule& schedule : kSchedules) {
    Engine& engine = Engine::Get();
    engine.ResetCounters();
    RunKernel(schedule, 3, 64, 2048, [&] {
      MLA_SHARED_MEMORY(memory);
      CopyAsync16(memory + Thread() * 16, source.bytes,
                  Thread() % 2 == 0 ? 16 : 0);
      CopyAsyncCommit();
      CopyAsyncWait<0>();
      SyncBlock();
      uint32_t r[4];
      float d[4] = {};
      LoadMatrix(r, memory + Thread() % 32 * 16);
      LoadMatrixTransposed(r, memory);
      MmaBf16(d, r, 0, 0);
      if (Thread() < 32) MmaBf16(d, r, 0, 0);
      Shuffle(1, 0);
      Ballot(true);
    });
    const Engine::Counters& c = engine.counters();
    EXPECT_EQ(c.copy_async, 3u * 64);
    EXPECT_EQ(c.copy_async_bytes, 3u * 32 * 16);
    EXPECT_EQ(c.block_barriers, 3u);
    EXPECT_EQ(c.load_matrix, 3u * 2 * 2);
    EXPECT_EQ(c.load_matrix_extra_wavefronts, 0u);
    EXPECT_EQ(c.mma, 3u * 3);
    EXPECT_EQ(c.shuffles, 3u * 2);
  }
}

// ---- arithmetic

// Of the two nearest numbers with 16 bits, the nearer one; of two as near, the
// even one.
uint16_t NearestBf16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const auto below = static_cast<uint16_t>(bits >> 16);  // towards zero
  const auto above = static_cast<uint16_t>(below + 1);
  const auto value = [](uint16_t h) {
    return double{std::bit_cast<float>(uint32_t{h} << 16)};
  };
  // Where infinity stands if exponents had no end.
  const double up =
      std::isinf(value(above)) ? std::copysign(0x1p128, f) : value(above);
  const double to_below = std::fabs(f - value(below));
  const double to_above = std::fabs(up - f);
  if (to_below == to_above) return below % 2 == 0 ? below : above;
  return to_below < to_above ? below : above;
}

TEST(Arithmetic, PackBf16RoundsToNearestEven) {
  for (uint64_t i = 0; i < 1 << 16; ++i) {
    // All upper halves, with lower halves at and beside the ties.
    for (const uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float f = FloatOfBits(static_cast<uint32_t>(i << 16) | low);
      const uint16_t want = std::isnan(f)   ? 0x7fff
                            : std::isinf(f) ? static_cast<uint16_t>(i)
                                            : NearestBf16(f);
      ASSERT_EQ(FloatToBf16(f), want) << f;
      ASSERT_EQ(PackBf16(1.0f, f), uint32_t{want} << 16 | 0x3f80);
    }
  }
}

TEST(Arithmetic, Exp2AndLog2FlushWhatIsTooSmall) {
  constexpr float kSmallest = std::numeric_limits<float>::min();
  for (const float x : {-126.0f, -20.3f, -1.0f, 0.0f, 0.7f, 100.25f}) {
    EXPECT_NEAR(Exp2(x) / std::exp2(double{x}), 1.0, 1e-6) << x;
  }
  EXPECT_EQ(Exp2(-kInfinity), 0.0f);
  EXPECT_EQ(Exp2(-127.0f), 0.0f);
  EXPECT_EQ(Exp2(-1e30f), 0.0f);
  EXPECT_EQ(Exp2(kSmallest / 2), 1.0f);
  EXPECT_EQ(Exp2(128.0f), kInfinity);
  EXPECT_TRUE(std::isnan(Exp2(kNaN)));
  for (const float x : {kSmallest, 0.3f, 1.0f, 7.0f, 1e30f}) {
    EXPECT_NEAR(Log2(x), std::log2(double{x}), 2e-5) << x;
  }
  EXPECT_EQ(Log2(0.0f), -kInfinity);
  EXPECT_EQ(Log2(kSmallest / 2), -kInfinity);
  EXPECT_EQ(Log2(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(Log2(-1.0f)));
}

TEST(Arithmetic, TheRest) {
  EXPECT_NEAR(RsqrtApprox(7.0f), 1 / std::sqrt(7.0), 1e-7);
  EXPECT_EQ(RsqrtApprox(0.0f), kInfinity);
  EXPECT_EQ(RsqrtApprox(kInfinity), 0.0f);
  EXPECT_TRUE(std::isnan(RsqrtApprox(-1.0f)));
  EXPECT_EQ(Max(-1.0f, 2.0f), 2.0f);
  EXPECT_EQ(Max(kNaN, 2.0f), 2.0f);  // as fmaxf
  EXPECT_EQ(Max(2.0f, kNaN), 2.0f);
  EXPECT_EQ(NegativeInfinity(), -kInfinity);
  EXPECT_EQ(BitsOf(-2.0f), 0xc0000000u);
  EXPECT_EQ(FloatOfBits(0x40490fdbu), 3.14159274f);
  EXPECT_EQ(Bf16ToFloat(0xbfc0), -1.5f);
}

TEST(VectorTypes, HaveTheSizesAndAlignmentsOfCuda) {
  EXPECT_EQ(sizeof(float2), 8u);
  EXPECT_EQ(alignof(float2), 8u);
  EXPECT_EQ(alignof(int2), 8u);
  EXPECT_EQ(alignof(uint2), 8u);
  EXPECT_EQ(sizeof(float4), 16u);
  EXPECT_EQ(alignof(float4), 16u);
  EXPECT_EQ(alignof(int4), 16u);
  EXPECT_EQ(alignof(uint4), 16u);
  EXPECT_EQ(sizeof(uint3), 12u);
  EXPECT_EQ(make_float4(1, 2, 3, 4).w, 4.0f);
  EXPECT_EQ(make_int2(1, 2).y, 2);
  EXPECT_EQ(dim3(7).z, 1u);
}

}  // namespace
}  // namespace mla::kernels::cuda

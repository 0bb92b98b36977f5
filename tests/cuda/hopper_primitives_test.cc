// Each of Hopper's primitives on the host: layouts by the formulas of the PTX
// ISA (layout_oracle_test.cc has CuTe's), and what is said of misuse.
#include "kernels/cuda/hopper_primitives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_host/every_order.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::ErrorsOf;
using cuda_host::kSchedules;
using cuda_host::RunKernel;
using cuda_host::Schedule;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;

constexpr int kBoxBytes = 64 * kBoxRowBytes;

int Thread() { return static_cast<int>(threadIdx.x); }

// [blocks, rows, width] bf16, with numbers to tell them by.
struct Tensor {
  int blocks, rows, width;
  std::vector<uint16_t> values;
  CUtensorMap map;

  Tensor(int b, int r, int w, int box_rows) : blocks(b), rows(r), width(w) {
    for (int i = 0; i < b * r * w; ++i) {
      values.push_back(static_cast<uint16_t>(i * 7 % 65521));
    }
    EXPECT_EQ(Encode(box_rows, w * 2, &map), CUDA_SUCCESS);
  }
  CUresult Encode(int box_rows, uint64_t row_bytes, CUtensorMap* to) {
    const cuuint64_t size[3] = {cuuint64_t(width), cuuint64_t(rows),
                                cuuint64_t(blocks)};
    const cuuint64_t strides[2] = {row_bytes, row_bytes * rows};
    const cuuint32_t box[3] = {64, cuuint32_t(box_rows), 1};
    const cuuint32_t every[3] = {1, 1, 1};
    return cuTensorMapEncodeTiled(
        to, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, values.data(), size, strides,
        box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  }
  uint16_t at(int z, int y, int x) const {
    const bool inside = z < blocks && y < rows && x < width;
    return inside ? values[(size_t(z) * rows + y) * width + x] : 0;
  }
};

// The chunk c of row r of 128 bytes is at place c ^ (r % 8).
size_t InBox(int row, int column) {
  return row * 128 + (column / 8 ^ row % 8) * 16 + column % 8 * 2;
}

TEST(HopperPrimitives, BoxesComeSwizzled) {
  Tensor t(3, 20, 80, 16);
  for (const Schedule& schedule : kSchedules) {
    std::vector<unsigned char> found(2 * 16 * 128);
    RunKernel(schedule, 1, 32, found.size() + 8, [&] {
      MLA_SHARED_MEMORY(shared);
      auto* full = reinterpret_cast<MBarrier*>(shared + found.size());
      if (Thread() == 0) {
        InitBarrier(full, 1);
        FenceBarrierInit();
        ArriveAndExpect(full, static_cast<int>(found.size()));
        CopyBox(shared, &t.map, full, 0, 2, 1);
        CopyBox(shared + 16 * 128, &t.map, full, 64, 8, 2);
      }
      SyncBlock();
      WaitFor(full, 0);
      if (Thread() == 0) std::memcpy(found.data(), shared, found.size());
    });
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 64; ++c) {
        uint16_t first, second;
        std::memcpy(&first, &found[InBox(r, c)], 2);
        std::memcpy(&second, &found[16 * 128 + InBox(r, c)], 2);
        ASSERT_EQ(first, t.at(1, 2 + r, c));
        ASSERT_EQ(second, t.at(2, 8 + r, 64 + c)) << r << " " << c;
      }
    }
  }
}

TEST(HopperPrimitives, TensorMapsKeepTheDriversRules) {
  Tensor t(2, 16, 64, 16);
  CUtensorMap map;
  EXPECT_EQ(t.Encode(257, 128, &map), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(t.Encode(16, 136, &map), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(t.Encode(16, 112, &map), CUDA_ERROR_INVALID_VALUE);
  t.rows = 0;
  EXPECT_EQ(t.Encode(16, 128, &map), CUDA_ERROR_INVALID_VALUE);
}

// ---- products

// A small integer, so that every sum is exact.
float Value(int row, int column, int salt) {
  return static_cast<float>((row * 7 + column * 3 + row * column + salt) % 9 -
                            4);
}
void StoreValue(unsigned char* box, int row, int column, int salt) {
  const uint32_t two =
      PackBf16(Value(row, column, salt), Value(row, column + 1, salt));
  StoreShared(box + BoxOffset(row, column % 64 / 8) + column % 8 * 2, two);
}

// d[i] of each of 256 threads: two warpgroups, of which the second one's A is
// another.
template <int kSums>
std::vector<float> Products(const Schedule& schedule, bool transposed) {
  constexpr int kColumns = 2 * kSums;
  std::vector<float> found(256 * kSums);
  // A: 2 boxes of 64 rows; B: [kColumns rows, 64] in boxes of 64 rows one
  // behind the other, or [64 rows, kColumns] in boxes of 64 columns.
  RunKernel(schedule, 1, 256, 6 * kBoxBytes, [&] {
    MLA_SHARED_MEMORY(shared);
    unsigned char* b = shared + 2 * kBoxBytes;
    for (int i = Thread(); i < 2 * 64 * 32; i += 256) {
      StoreValue(shared + i / 2048 * kBoxBytes, i / 32 % 64, i % 32 * 2,
                 i / 2048);
    }
    for (int i = Thread(); i < kColumns * 32; i += 256) {
      const int row = transposed ? i / (kColumns / 2) : i / 32;
      const int column = transposed ? i % (kColumns / 2) * 2 : i % 32 * 2;
      StoreValue(transposed ? b + column / 64 * kBoxBytes : b, row, column, 5);
    }
    FenceAsyncProxy();
    SyncBlock();
    float d[kSums];
    for (int i = 0; i < kSums; ++i) d[i] = static_cast<float>(i);
    const uint64_t a = OperandAt(shared + Thread() / 128 * kBoxBytes);
    FenceProducts();
    for (int k = 0; k < 4; ++k) {
      if (transposed) {
        MultiplyTransposed(d, OperandBehind(a, k * 32),
                           OperandBehind(OperandAt(b, kBoxBytes), k * 2048));
      } else {
        Multiply(d, OperandBehind(a, k * 32),
                 OperandBehind(OperandAt(b), k * 32));
      }
    }
    CommitProducts();
    WaitForProducts(d);
    std::memcpy(&found[Thread() * kSums], d, sizeof(d));
  });
  return found;
}

template <int kSums>
void ProductsAreRight(bool transposed) {
  for (const Schedule& schedule : kSchedules) {
    const std::vector<float> found = Products<kSums>(schedule, transposed);
    for (int thread = 0; thread < 256; ++thread) {
      for (int i = 0; i < kSums; ++i) {
        const int lane = thread % 32;
        const int row = thread / 32 % 4 * 16 + lane / 4 + i / 2 % 2 * 8;
        const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        float sum = static_cast<float>(i);
        for (int k = 0; k < 64; ++k) {
          sum += Value(row, k, thread / 128) *
                 (transposed ? Value(k, column, 5) : Value(column, k, 5));
        }
        ASSERT_EQ(found[thread * kSums + i], sum) << thread << " " << i;
      }
    }
  }
}

TEST(HopperPrimitives, ProductsOfRows) {
  ProductsAreRight<16>(false);
  ProductsAreRight<32>(false);
}
TEST(HopperPrimitives, ProductsOfColumns) {
  ProductsAreRight<32>(true);
  ProductsAreRight<128>(true);
}

// What operands are said to be: a start, distances, a swizzle of 128 bytes.
TEST(HopperPrimitives, OperandsAreDescribedAsThePtxIsaHasIt) {
  RunKernel(1, 32, 4096, [] {
    MLA_SHARED_MEMORY(shared);
    const uint64_t rows = OperandAt(shared + 2048 + 32);
    EXPECT_EQ(rows & 0x3fff, (2048 + 32) / 16);
    EXPECT_EQ(rows >> 16 & 0x3fff, 1);          // not used
    EXPECT_EQ(rows >> 32 & 0x3fff, 1024 / 16);  // eight rows
    EXPECT_EQ(rows >> 49 & 7, 0);
    EXPECT_EQ(rows >> 62, 1);
    const uint64_t columns = OperandAt(shared, 8192);
    EXPECT_EQ(columns >> 16 & 0x3fff, 8192 / 16);
    EXPECT_EQ(OperandBehind(columns, 2048) - columns, 128);
  });
}

// ---- what is noticed

// One warpgroup multiplies two boxes of zeros, with a flaw somewhere.
enum class Flaw {
  kNone,
  kNoFence,
  kNoProxyFence,
  kReadEarly,
  kOperandWritten,
  kSumsWritten,
  kNotCommitted,
  kWarpsDiffer
};
std::vector<std::string> ErrorsWith(Flaw flaw) {
  return ErrorsOf(128, 2 * kBoxBytes, [flaw] {
    MLA_SHARED_MEMORY(shared);
    for (int i = Thread(); i < 2 * kBoxBytes / 16; i += 128) {
      StoreShared(shared + i * 16, make_uint4(0, 0, 0, 0));
    }
    if (flaw != Flaw::kNoProxyFence) FenceAsyncProxy();
    SyncBlock();
    float d[16] = {};
    if (flaw != Flaw::kNoFence) FenceProducts();
    const int row = flaw == Flaw::kWarpsDiffer && Thread() / 32 == 2 ? 1024 : 0;
    Multiply(d, OperandAt(shared), OperandAt(shared + kBoxBytes + row));
    if (flaw != Flaw::kNotCommitted) CommitProducts();
    if (flaw == Flaw::kReadEarly) {
      EXPECT_TRUE(std::isnan(d[0]));
    }
    if (flaw == Flaw::kSumsWritten) d[3] = 0.0f;
    if (flaw == Flaw::kOperandWritten) {
      SyncBlock();
      if (Thread() == 77) {
        StoreShared(shared + 16, 0x3f803f80u);
        FenceAsyncProxy();
      }
      SyncBlock();
    }
    WaitForProducts(d);
    if (flaw == Flaw::kNone || flaw == Flaw::kReadEarly) {
      EXPECT_EQ(d[0], 0.0f);
    } else if (flaw == Flaw::kNoProxyFence) {
      EXPECT_TRUE(std::isnan(d[0]));
    }
  });
}

TEST(HopperPrimitives, MisusedProductsAreNoticed) {
  EXPECT_THAT(ErrorsWith(Flaw::kNone), Each(""));
  EXPECT_THAT(ErrorsWith(Flaw::kReadEarly), Each(""));
  EXPECT_THAT(ErrorsWith(Flaw::kNoProxyFence), Each(""));
  EXPECT_THAT(ErrorsWith(Flaw::kNoFence), Each(HasSubstr("no fence between")));
  EXPECT_THAT(ErrorsWith(Flaw::kOperandWritten),
              Each(HasSubstr("an operand changed")));
  EXPECT_THAT(ErrorsWith(Flaw::kSumsWritten),
              Each(HasSubstr("were written before the wait")));
  EXPECT_THAT(ErrorsWith(Flaw::kNotCommitted),
              Each(HasSubstr("did not wait for")));
  EXPECT_THAT(ErrorsWith(Flaw::kWarpsDiffer),
              Each(HasSubstr("multiply different things")));
}

// ---- mbarriers

TEST(HopperPrimitives, PhasesEndWhenAllHaveArrived) {
  for (const Schedule& schedule : kSchedules) {
    std::vector<int> least(4, 1000);
    RunKernel(schedule, 1, 64, 16, [&] {
      MLA_SHARED_MEMORY(shared);
      auto* b = reinterpret_cast<MBarrier*>(shared);
      int* count = reinterpret_cast<int*>(shared + 8);
      if (Thread() == 0) {
        InitBarrier(b, 64);
        *count = 0;
        FenceBarrierInit();
      }
      SyncBlock();
      WaitFor(b, 1);  // none has ended yet: at once
      for (int phase = 0; phase < 4; ++phase) {
        AtomicAdd(count, 1);
        Arrive(b);
        WaitFor(b, phase % 2);
        cuda_host::HiddenFromTsan hidden;  // others go on
        least[phase] = std::min(least[phase], *count);
      }
    });
    for (int phase = 0; phase < 4; ++phase) {
      EXPECT_GE(least[phase], (phase + 1) * 64);
    }
  }
}

std::vector<std::string> ErrorsOfCopy(int expected, int offset, bool wait) {
  static Tensor tensor(1, 8, 64, 8);
  return ErrorsOf(32, 4096, [=] {
    MLA_SHARED_MEMORY(shared);
    auto* b = reinterpret_cast<MBarrier*>(shared + 2048);
    if (Thread() != 0) return;
    InitBarrier(b, 1);
    FenceBarrierInit();
    ArriveAndExpect(b, expected);
    CopyBox(shared + offset, &tensor.map, b, 0, 0, 0);
    if (wait) WaitFor(b, 0);
  });
}

TEST(HopperPrimitives, MisusedBarriersAndCopiesAreNoticed) {
  EXPECT_THAT(ErrorsOfCopy(1024, 1024, true), Each(""));
  EXPECT_THAT(ErrorsOfCopy(1040, 1024, true), Each(HasSubstr("deadlock")));
  EXPECT_THAT(ErrorsOfCopy(1008, 1024, true), Each(HasSubstr("deadlock")));
  EXPECT_THAT(ErrorsOfCopy(1024, 512, true), Each(HasSubstr("swizzle")));
  EXPECT_THAT(ErrorsOfCopy(1024, 4096, true), Each(HasSubstr("not inside")));
  EXPECT_THAT(ErrorsOfCopy(1024, 1024, false),
              Each(HasSubstr("a box under way")));
  EXPECT_THAT(ErrorsOf(32, 16,
                       [] {
                         MLA_SHARED_MEMORY(shared);
                         auto* b = reinterpret_cast<MBarrier*>(shared);
                         if (Thread() == 0) Arrive(b);
                       }),
              Each(HasSubstr("not initialised")));
}

TEST(HopperPrimitives, SomeMeetWhileOthersGoOn) {
  for (const Schedule& schedule : kSchedules) {
    std::vector<int> seen(64);
    RunKernel(schedule, 1, 96, 4, [&] {
      MLA_SHARED_MEMORY(shared);
      int* count = reinterpret_cast<int*>(shared);
      if (Thread() == 0) *count = 0;
      SyncBlock();
      if (Thread() >= 64) return;
      AtomicAdd(count, 1);
      SyncSome(3, 64);
      seen[Thread()] = *count;
    });
    EXPECT_THAT(seen, Each(64));
  }
  EXPECT_THAT(ErrorsOf(64, 4, [] { SyncSome(1, 96); }),
              Each(HasSubstr("deadlock")));
  EXPECT_THAT(ErrorsOf(64, 4, [] { SyncSome(16, 64); }),
              Each(HasSubstr("1 to 15")));
  EXPECT_THAT(ErrorsOf(64, 4, [] { SyncSome(2, Thread() < 32 ? 64 : 32); }),
              Each(AnyOf(HasSubstr("another number"), HasSubstr("deadlock"))));
}

}  // namespace
}  // namespace mla::kernels::cuda

// The host's tensor core primitives against CuTe's layouts, as committed in
// tests/golden/cuda (make_layouts.cc there prints them).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cuda_host/every_order.h"
#include "kernels/cuda/hopper_primitives.h"
#include "kernels/cuda/primitives.h"
#include "tests/support/golden_files.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::RunKernel;

struct Element {
  int row, column;
};
using Layout = std::vector<std::vector<Element>>;  // [lanes][values]

Layout ReadLayout(const std::string& name, size_t lanes = 32) {
  std::ifstream file(testing::CommittedGoldenDir() / "cuda/cute_layouts.txt");
  Layout layout;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string of;
    size_t lane;
    words >> of >> lane;
    if (of != name) continue;
    EXPECT_EQ(lane, layout.size());
    layout.emplace_back();
    Element e;
    char comma;
    while (words >> e.row >> comma >> e.column) layout.back().push_back(e);
  }
  EXPECT_EQ(layout.size(), lanes) << name;
  return layout;
}

int Lane() { return static_cast<int>(threadIdx.x); }

TEST(LayoutOracle, Mma) {
  const Layout a = ReadLayout("a"), b = ReadLayout("b"), c = ReadLayout("c");
  // Small integers: every sum is exact.
  const auto of_a = [](Element e) {
    return static_cast<float>((e.row * 7 + e.column * 3) % 11 - 5);
  };
  const auto of_b = [](Element e) {
    return static_cast<float>((e.row * 5 + e.column * 2) % 13 - 6);
  };
  const auto of_c = [](Element e) {
    return static_cast<float>(e.row * 100 + e.column);
  };
  std::map<std::pair<int, int>, float> got;
  RunKernel(1, 32, 0, [&] {
    const auto &la = a[Lane()], &lb = b[Lane()], &lc = c[Lane()];
    uint32_t ra[4], rb[2];
    float d[4];
    for (int i = 0; i < 4; ++i) {
      ra[i] = PackBf16(of_a(la[i * 2]), of_a(la[i * 2 + 1]));
      d[i] = of_c(lc[i]);
    }
    for (int i = 0; i < 2; ++i) {
      rb[i] = PackBf16(of_b(lb[i * 2]), of_b(lb[i * 2 + 1]));
    }
    MmaBf16(d, ra, rb[0], rb[1]);
    cuda_host::HiddenFromTsan hidden;
    for (int i = 0; i < 4; ++i) got[{lc[i].row, lc[i].column}] = d[i];
  });
  ASSERT_EQ(got.size(), 16u * 8);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float want = of_c({row, column});
      for (int k = 0; k < 16; ++k) want += of_a({row, k}) * of_b({k, column});
      EXPECT_EQ((got[{row, column}]), want) << row << ", " << column;
    }
  }
}

TEST(LayoutOracle, LoadMatrix) {
  for (const bool transposed : {false, true}) {
    const Layout layout =
        ReadLayout(transposed ? "ldmatrix.trans" : "ldmatrix");
    RunKernel(1, 32, 512, [&] {
      MLA_SHARED_MEMORY(memory);
      uint16_t* elements = reinterpret_cast<uint16_t*>(memory);
      for (int i = 0; i < 8; ++i) {
        elements[Lane() * 8 + i] = static_cast<uint16_t>(Lane() * 8 + i);
      }
      SyncBlock();
      uint32_t r[4];
      if (transposed) {
        LoadMatrixTransposed(r, memory + Lane() * 16);
      } else {
        LoadMatrix(r, memory + Lane() * 16);
      }
      for (int v = 0; v < 8; ++v) {
        const Element e = layout[Lane()][v];
        EXPECT_EQ(r[v / 2] >> v % 2 * 16 & 0xffff,
                  static_cast<uint32_t>(e.row * 8 + e.column))
            << "lane " << Lane() << ", value " << v;
      }
    });
  }
}

// Sums of a product of Hopper's: A picks rows by a diagonal of ones, and B's
// element tells its place.
TEST(LayoutOracle, WarpgroupSums) {
  const Layout layout = ReadLayout("wgmma.c", 128);
  constexpr int kBox = 64 * 128;
  const auto of_b = [](int row, int k) {
    return static_cast<float>(row * 4 + k % 4);  // at most 8 bits
  };
  for (int first = 0; first < 64; first += 16) {
    RunKernel(1, 128, 2 * kBox, [&] {
      MLA_SHARED_MEMORY(shared);
      const int thread = static_cast<int>(threadIdx.x);
      for (int i = thread; i < 64 * 8; i += 128) {
        const int row = i / 8, k = i % 8 * 2;
        const auto one = [&](int column) {
          return row - first == column ? 1.0f : 0.0f;
        };
        StoreShared(shared + BoxOffset(row, k / 8) + k % 8 * 2,
                    PackBf16(one(k), one(k + 1)));
        StoreShared(shared + kBox + BoxOffset(row, k / 8) + k % 8 * 2,
                    PackBf16(of_b(row, k), of_b(row, k + 1)));
      }
      FenceAsyncProxy();
      SyncBlock();
      float d[16] = {};
      FenceProducts();
      Multiply(d, OperandAt(shared), OperandAt(shared + kBox));
      CommitProducts();
      WaitForProducts(d);
      for (int i = 0; i < 16; ++i) {
        const Element e = layout[thread][i];
        const bool picked = e.row >= first && e.row < first + 16;
        EXPECT_EQ(d[i], picked ? of_b(e.column, e.row - first) : 0.0f)
            << "thread " << thread << ", value " << i;
      }
    });
  }
}

TEST(LayoutOracle, SwizzledBoxes) {
  for (const char* name : {"box.k", "box.mn"}) {
    const Layout layout = ReadLayout(name, 8);
    for (int row = 0; row < 8; ++row) {
      for (int column = 0; column < 64; ++column) {
        const Element e = layout[row][column];
        EXPECT_EQ(BoxOffset(row, column / 8) + column % 8 * 2,
                  (e.row * 64 + e.column) * 2)
            << name << " " << row << ", " << column;
      }
    }
  }
}

TEST(LayoutOracle, MatrixDescriptors) {
  const Element rows = ReadLayout("descriptor.k", 1)[0][0];
  const Element rows_swizzle = ReadLayout("descriptor.k", 1)[0][1];
  const Element columns = ReadLayout("descriptor.mn", 1)[0][0];
  RunKernel(1, 32, 1024, [&] {
    MLA_SHARED_MEMORY(shared);
    const auto bits = [](Element e, Element swizzle) {
      return static_cast<uint64_t>(e.row) << 16 |
             static_cast<uint64_t>(e.column) << 32 |
             static_cast<uint64_t>(swizzle.column) << 49 |
             static_cast<uint64_t>(swizzle.row) << 62;
    };
    constexpr uint64_t kStart = 0x3fff;
    EXPECT_EQ(OperandAt(shared) & ~kStart, bits(rows, rows_swizzle));
    EXPECT_EQ(OperandAt(shared, 64 * 128) & ~kStart,
              bits(columns, rows_swizzle));
  });
}

}  // namespace
}  // namespace mla::kernels::cuda

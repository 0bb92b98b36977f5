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
#include "kernels/cuda/primitives.h"
#include "tests/support/golden_files.h"

namespace mla::kernels::cuda {
namespace {

using cuda_host::RunKernel;

struct Element {
  int row, column;
};
using Layout = std::vector<std::vector<Element>>;  // [lanes][values]

Layout ReadLayout(const std::string& name) {
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
  EXPECT_EQ(layout.size(), 32u) << name;
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

}  // namespace
}  // namespace mla::kernels::cuda

// Tested by tests/cuda/hopper_primitives_test.cc.
//
// Layouts: PTX ISA, 9.7.15.5.1 (registers, matrices in shared memory, matrix
// descriptors). Of the swizzles, the one of 128 bytes.
#include "cuda_host/products.h"

#include <bit>
#include <cstring>

#include "cuda_host/async_proxy.h"

namespace cuda_host {
namespace {

constexpr int kRows = 16;                 // of a warp
constexpr int kDepth = 16;                // of a product
constexpr uint32_t kUnread = 0xffffdead;  // a NaN

float ToFloat(uint16_t h) {
  return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}

struct Descriptor {
  size_t start, leading, stride;
};

Descriptor Decode(Engine& engine, uint64_t bits) {
  if (bits >> 62 != 1) engine.Fail("only 128-byte swizzles are modelled");
  if ((bits >> 49 & 7) != 0) engine.Fail("a descriptor with a base offset");
  return {(bits & 0x3fff) << 4, (bits >> 16 & 0x3fff) << 4,
          (bits >> 32 & 0x3fff) << 4};
}

// Eight neighbours at a linear offset, as products see them.
void ReadChunk(Engine& engine, AsyncProxy& memory, size_t linear, uint16_t* to,
               int step) {
  const size_t at = linear ^ (linear >> 7 & 7) << 4;
  const unsigned char* seen = memory.SeenAt(engine, at, 16);
  {
    SeenByTsan shown;
    TsanRead(engine.shared().data() + at, 16);
  }
  for (int i = 0; i < 8; ++i) std::memcpy(&to[i * step], seen + i * 2, 2);
}

// The register of a lane's sum `i` is (row, column) of the warp's 16 rows.
int RowOf(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }
int ColumnOf(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }

}  // namespace

Products::Operands Products::Read(Engine& engine, int warp,
                                  const Product& product) {
  AsyncProxy& memory = engine.Of<AsyncProxy>();
  Operands o;
  o.a.resize(kRows * kDepth);
  o.b.resize(static_cast<size_t>(kDepth) * product.columns);
  const Descriptor a = Decode(engine, product.a);
  for (int r = 0; r < kRows; ++r) {
    const size_t row = warp % 4 * kRows + r;
    for (int c = 0; c < kDepth; c += 8) {
      ReadChunk(engine, memory,
                a.start + row / 8 * a.stride + row % 8 * 128 + c * 2,
                &o.a[r * kDepth + c], 1);
    }
  }
  const Descriptor b = Decode(engine, product.b);
  for (int n = 0; n < product.columns; n += product.transposed ? 8 : 1) {
    for (int k = 0; k < kDepth; k += product.transposed ? 1 : 8) {
      uint16_t* to = &o.b[static_cast<size_t>(k) * product.columns + n];
      if (product.transposed) {  // MN-major: n are neighbours
        ReadChunk(engine, memory,
                  b.start + n / 64 * b.leading + k / 8 * b.stride +
                      k % 8 * 128 + n % 64 * 2,
                  to, 1);
      } else {  // K-major
        ReadChunk(engine, memory,
                  b.start + n / 8 * b.stride + n % 8 * 128 + k * 2, to,
                  product.columns);
      }
    }
  }
  return o;
}

void Products::Take(Sums& sums) {
  sums.value.resize(static_cast<size_t>(kRows) * sums.columns);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < sums.columns / 2; ++i) {
      sums.value[RowOf(lane, i) * sums.columns + ColumnOf(lane, i)] =
          sums.d[lane][i];
      std::memcpy(&sums.d[lane][i], &kUnread, 4);
    }
  }
}

void Products::GiveBack(Engine& engine, const Sums& sums) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < sums.columns / 2; ++i) {
      if (std::memcmp(&sums.d[lane][i], &kUnread, 4) != 0) {
        engine.Fail("sums of products were written before the wait for them");
      }
      sums.d[lane][i] =
          sums.value[RowOf(lane, i) * sums.columns + ColumnOf(lane, i)];
    }
  }
}

void Products::Fence(int warp) { warps_[warp].is_fenced = true; }

void Products::Issue(Engine& engine, int number, const Product& product,
                     float* const (&d)[32]) {
  Warp& warp = warps_[number];
  if (!warp.is_fenced) {
    engine.Fail("no fence between writes of registers and a product");
  }
  if (product.columns % 8 != 0 || product.columns > 256) {
    engine.Fail("a product has 8, 16, ... 256 columns");
  }
  std::vector<Product>& group = of_group_[number / 4];
  if (warp.count == group.size()) group.push_back(product);
  if (!(group[warp.count++] == product)) {
    engine.Fail("the warps of a warpgroup multiply different things");
  }
  if (number % 4 == 0) {
    Engine::Counters& counters = engine.mutable_counters();
    ++counters.warpgroup_products;
    counters.warpgroup_flops += 2ull * 64 * product.columns * kDepth;
    counters.warpgroup_shared_bytes += (64ull + product.columns) * kDepth * 2;
  }
  size_t sums = 0;
  while (sums < warp.sums.size() && warp.sums[sums].d[0] != d[0]) ++sums;
  if (sums == warp.sums.size()) {
    Sums s;
    std::memcpy(s.d, d, sizeof(s.d));
    s.columns = product.columns;
    Take(s);
    warp.sums.push_back(std::move(s));
  }
  if (warp.sums[sums].columns != product.columns) {
    engine.Fail("products of two widths add to the same sums");
  }
  warp.issued.push_back({product, Read(engine, number, product), sums});
}

void Products::Commit(int warp) {
  warps_[warp].committed = warps_[warp].issued.size();
}

void Products::Wait(Engine& engine, int number) {
  Warp& warp = warps_[number];
  if (warp.committed < warp.issued.size()) return;  // never computed
  for (const Issued& issued : warp.issued) {
    const Product& product = issued.product;
    if (!(Read(engine, number, product) == issued.operands)) {
      engine.Fail("an operand changed before the products were waited for");
    }
    const int columns = product.columns;
    float b[256];
    for (int k = 0; k < kDepth; ++k) {
      for (int n = 0; n < columns; ++n) {
        b[n] = ToFloat(issued.operands.b[static_cast<size_t>(k) * columns + n]);
      }
      for (int r = 0; r < kRows; ++r) {
        const float a = ToFloat(issued.operands.a[r * kDepth + k]);
        float* sums = &warp.sums[issued.sums].value[r * columns];
        for (int n = 0; n < columns; ++n) sums[n] += a * b[n];
      }
    }
  }
  for (const Sums& sums : warp.sums) GiveBack(engine, sums);
  warp.issued.clear();
  warp.committed = 0;
  warp.sums.clear();
  warp.is_fenced = false;
}

void Products::StartBlock() {
  warps_.clear();
  of_group_.clear();
}

std::string Products::Leftover() const {
  for (const auto& [number, warp] : warps_) {
    if (!warp.issued.empty()) {
      return std::string("warp ").append(std::to_string(number)) +
             " has exited with products that it did not wait for";
    }
    const auto group = of_group_.find(number / 4);
    if (group != of_group_.end() && warp.count != group->second.size()) {
      return "the warps of a warpgroup multiply different things";
    }
  }
  return "";
}

}  // namespace cuda_host

// Products: Hopper's asynchronous products (wgmma) of the block's warps. A
// warp's part is 16 of the 64 rows. Sums are computed when they are waited for:
// until then their registers are NaN, and operands are what they were.
// Threads: one. Errors: Engine::Fail, in the thread that calls.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_PRODUCTS_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_PRODUCTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda_host/engine.h"

namespace cuda_host {

struct Product {
  int columns;
  bool transposed;
  uint64_t a, b;  // matrix descriptors

  friend bool operator==(const Product& x, const Product& y) {
    return x.columns == y.columns && x.transposed == y.transposed &&
           x.a == y.a && x.b == y.b;
  }
};

class Products : public Background {
 public:
  // By a warp, whose lanes have their sums at `d`.
  void Fence(int warp);
  void Issue(Engine& engine, int warp, const Product& product,
             float* const (&d)[32]);
  void Commit(int warp);
  void Wait(Engine& engine, int warp);
  // An address that stands for the order which a wait makes.
  char* OrderOf(int warp) { return &warps_[warp].order; }

  void StartBlock() override;
  bool Advance() override { return false; }
  std::string Leftover() const override;

 private:
  struct Operands {
    std::vector<uint16_t> a, b;  // [16 rows, 16], [16, columns]
    friend bool operator==(const Operands& x, const Operands& y) {
      return x.a == y.a && x.b == y.b;
    }
  };
  struct Sums {
    float* d[32];
    int columns;
    std::vector<float> value;  // [16, columns]
  };
  struct Issued {
    Product product;
    Operands operands;
    size_t sums;  // among its warp's
  };
  struct Warp {
    bool is_fenced = false;
    size_t count = 0;  // of products, of the block
    std::vector<Issued> issued;
    size_t committed = 0;  // of those
    std::vector<Sums> sums;
    char order = 0;
  };

  static Operands Read(Engine& engine, int warp, const Product& product);
  static void Take(Sums& sums);
  static void GiveBack(Engine& engine, const Sums& sums);

  std::map<int, Warp> warps_;
  std::map<int, std::vector<Product>> of_group_;  // by warpgroup, of the block
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_PRODUCTS_H_

// Prints where CuTe, which NVIDIA's own kernels are written with, says that the
// elements of tensor core operands lie: cute_layouts.txt, which
// tests/cuda/layout_oracle_test.cc holds the host's primitives to.
//
// The headers are those of the packages nvidia-cutlass (4.2.0.0) and, for what
// they include, nvidia-cuda-runtime and nvidia-cuda-cccl; PACKAGES is the
// site-packages folder that has them. No GPU, no nvcc.
//
//   cuda=$PACKAGES/nvidia/cu13/include
//   g++ -std=c++17 -w -I $PACKAGES/cutlass_library/source/include -I $cuda
//     -I $cuda/cccl tests/golden/cuda/make_layouts.cc -o make_layouts
//   ./make_layouts >tests/golden/cuda/cute_layouts.txt
//
// A line is a name, a lane, and for each value that the lane holds its row and
// column, of which a register has two.
#include <cstdio>
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_traits_sm80.hpp>
#include <cute/tensor.hpp>

namespace {

// `layout` takes a lane and a value to an offset, which is row * row_stride +
// column * column_stride; one of the strides is 1, or stands for one unit.
template <class Layout>
void Print(const char* name, Layout layout, int values, int value_step,
           int unit, int minor_size, bool minor_is_row) {
  for (int lane = 0; lane < 32; ++lane) {
    std::printf("%s %d", name, lane);
    for (int v = 0; v < values; ++v) {
      const int at = static_cast<int>(layout(lane, v * value_step)) / unit;
      const int minor = at % minor_size, major = at / minor_size;
      std::printf(" %d,%d", minor_is_row ? minor : major,
                  minor_is_row ? major : minor);
    }
    std::printf("\n");
  }
}

}  // namespace

int main() {
  using Mma = cute::MMA_Traits<cute::SM80_16x8x16_F32BF16BF16F32_TN>;
  // Offsets m + 16 k, n + 8 k and m + 16 n; b's row is k.
  Print("a", Mma::ALayout{}, 8, 1, 1, 16, true);
  Print("b", Mma::BLayout{}, 4, 1, 1, 8, false);
  Print("c", Mma::CLayout{}, 4, 1, 1, 16, true);
  // Offsets in bits: rows of 128, of 32 lanes' addresses, elements of 16.
  Print("ldmatrix", cute::Copy_Traits<cute::SM75_U32x4_LDSM_N>::DstLayout{}, 8,
        16, 16, 8, false);
  Print("ldmatrix.trans",
        cute::Copy_Traits<cute::SM75_U16x8_LDSM_T>::DstLayout{}, 8, 16, 16, 8,
        false);
}

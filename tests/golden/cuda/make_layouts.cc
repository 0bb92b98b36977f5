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
//   ./make_layouts | grep -v ERROR >tests/golden/cuda/cute_layouts.txt
// (On the host CuTe says ERROR of a shared address, which nothing here prints.)
//
// A line is a name, a lane, and for each value that the lane holds its row and
// column, of which a register has two. Of Hopper's: sums of a product of 32
// columns, by thread of a warpgroup; where the columns of a row of a swizzled
// box lie, as row and column of that box; and the distances of a matrix
// descriptor, leading and stride, in 16 bytes, with its swizzle.
#include <cstdio>
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_traits_sm80.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>
#include <cute/tensor.hpp>

namespace {

// `layout` takes a lane and a value to an offset, which is row * row_stride +
// column * column_stride; one of the strides is 1, or stands for one unit.
template <class Layout>
void Print(const char* name, Layout layout, int values, int value_step,
           int unit, int minor_size, bool minor_is_row, int lanes = 32) {
  for (int lane = 0; lane < lanes; ++lane) {
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

// `layout` takes (row, column) of 64 columns to an offset in elements.
template <class Layout>
void PrintBox(const char* name, Layout layout, bool columns_first) {
  for (int row = 0; row < 8; ++row) {
    std::printf("%s %d", name, row);
    for (int column = 0; column < 64; ++column) {
      const int at = static_cast<int>(columns_first ? layout(column, row)
                                                    : layout(row, column));
      std::printf(" %d,%d", at / 64, at % 64);
    }
    std::printf("\n");
  }
}

template <class Descriptor>
void PrintDescriptor(const char* name, const Descriptor& d) {
  std::printf("%s 0 %d,%d %d,%d\n", name,
              static_cast<int>(d.bitfield.leading_byte_offset_),
              static_cast<int>(d.bitfield.stride_byte_offset_),
              static_cast<int>(d.bitfield.layout_type_),
              static_cast<int>(d.bitfield.base_offset_));
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

  using namespace cute;
  using Wgmma =
      MMA_Traits<SM90_64x32x16_F32BF16BF16_SS<GMMA::Major::K, GMMA::Major::K>>;
  Print("wgmma.c", Wgmma::CLayout{}, 16, 1, 1, 64, true, 128);
  PrintBox("box.k",
           as_position_independent_swizzle_layout(
               GMMA::Layout_K_SW128_Atom<bfloat16_t>{}),
           false);
  PrintBox("box.mn",
           as_position_independent_swizzle_layout(
               GMMA::Layout_MN_SW128_Atom<bfloat16_t>{}),
           true);
  // Keys: 64 rows of 16 columns. Values: 16 rows of 256 columns, in boxes of
  // 64 rows and 64 columns, one behind the other.
  const auto keys =
      tile_to_shape(GMMA::Layout_K_SW128_Atom<bfloat16_t>{}, Shape<_64, _64>{});
  const auto values = tile_to_shape(GMMA::Layout_MN_SW128_Atom<bfloat16_t>{},
                                    Shape<_256, _64>{}, Step<_2, _1>{});
  const auto pointer = make_smem_ptr(static_cast<bfloat16_t*>(nullptr));
  PrintDescriptor(
      "descriptor.k",
      GMMA::make_gmma_desc<GMMA::Major::K>(local_tile(
          make_tensor(pointer, keys), Shape<_64, _16>{}, make_coord(0, 0))));
  PrintDescriptor(
      "descriptor.mn",
      GMMA::make_gmma_desc<GMMA::Major::MN>(local_tile(
          make_tensor(pointer, values), Shape<_256, _16>{}, make_coord(0, 0))));
}
